// One device: what REST knows of it, kept current by the live connection.

import { computed, ref, shallowRef, watch } from 'vue'
import * as api from '@/api/fleet'
import type { Device } from '@/api/types'
import { useLive } from '@/stores/live'

export const LIVE_MINUTES = 30

export function useDevice(deviceId: () => string) {
  const live = useLive()
  const fetched = shallowRef<Device>()
  const failure = shallowRef<unknown>()
  const thinned = ref(false)

  /** What people set comes from REST, what changes by the second from the live connection. */
  const device = computed<Device | undefined>(() => {
    const known = fetched.value
    const current = live.live.devices[deviceId()]
    if (!known || !current)
      return known
    const { presence, sockets, reported = known.reported ?? null, latest = known.latest ?? null } = current
    return { ...known, presence, sockets: sockets.length > 0 ? sockets : known.sockets, reported, latest }
  })

  async function load() {
    const id = deviceId()
    try {
      const [found, ring, commands] = await Promise.all([
        api.getDevice(id), api.telemetry(id, LIVE_MINUTES), api.listCommands(id),
      ])
      if (id !== deviceId())
        return
      fetched.value = found
      thinned.value = ring.thinned ?? false
      live.remember({ deviceId: id, samples: ring.items, commands: commands.items })
      failure.value = undefined
    } catch (error) {
      failure.value = error
    }
  }

  watch(deviceId, () => {
    fetched.value = undefined
    failure.value = undefined
    void load()
  }, { immediate: true })
  // What happened while the connection was down is not told again.
  watch(() => live.state, (state) => {
    if (state === 'open' && fetched.value)
      void load()
  })

  return { device, fetched, failure, thinned, load }
}
