// One device: what REST knows of it, kept current by the live connection.

import { computed, ref, shallowRef, watch } from 'vue'
import * as api from '@/api/fleet'
import { given } from '@/api/given'
import type { Device } from '@/api/types'
import { isWhole } from '@/domain/command'
import { type Moment, toMs } from '@/format'
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
    const { sockets, latest = known.latest ?? null } = current
    const status = live.live.status[deviceId()]
    const { firmware, ip, rssiDbm, uptimeS } = status ?? {}
    return {
      ...known,
      presence: { ...current.presence, lastSeen: latestOf(current.presence.lastSeen, status?.at, latest?.ts) },
      sockets: sockets.length > 0 ? sockets : known.sockets,
      reported: status
        ? { ...known.reported, at: status.at, ...given({ firmware, ip, rssiDbm, uptimeS }) }
        : known.reported ?? null,
      latest,
    }
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
      thinned.value = typeof ring.thinnedBefore === 'string'
      live.remember({ deviceId: id, samples: ring.items, commands: commands.items })
      failure.value = undefined
    } catch (error) {
      failure.value = error
    }
  }

  async function loadCommands(id: string) {
    const page = await api.listCommands(id).catch(() => undefined)
    live.remember({ deviceId: id, commands: page?.items ?? [] })
  }

  watch(deviceId, () => {
    fetched.value = undefined
    failure.value = undefined
    void load()
  }, { immediate: true })
  // Somebody else's command comes as news without its author: read the whole of it.
  watch(() => live.live.commands[deviceId()]?.find((command) => !isWhole(command))?.cmdId, (unknown) => {
    if (unknown !== undefined)
      void loadCommands(deviceId())
  })
  // What happened while the connection was down is not told again.
  watch(() => live.state, (state) => {
    if (state === 'open' && fetched.value)
      void load()
  })

  return { device, fetched, failure, thinned, load }
}

/** The latest of some moments, where one is known. */
function latestOf(...moments: Moment[]): string | null {
  const known = moments.map(toMs).filter((ms) => ms !== undefined)
  return known.length > 0 ? new Date(Math.max(...known)).toISOString() : null
}
