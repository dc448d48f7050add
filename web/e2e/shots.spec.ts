// Pictures of every page; they show the built page with the fake fleet.

import { test } from '@playwright/test'
import { devices, NOW, powerAt, sample } from './fake/fleet'
import { type Fake, fakeServer, ORIGIN } from './fake/server'

const PAGES = {
  'dashboard': '/',
  'devices': '/devices',
  'device': `/devices/${devices[8]?.deviceId ?? ''}`,
  'device-offline': `/devices/${devices[5]?.deviceId ?? ''}`,
  'inbox': '/inbox',
  'events': '/events',
  'sign-in': '/sign-in',
  'setup': '/setup?token=t',
}
const LOOKS = [
  { name: 'desktop-light-en', width: 1280, height: 860, colorScheme: 'light', locale: 'en-GB' },
  { name: 'desktop-dark-zh', width: 1280, height: 860, colorScheme: 'dark', locale: 'zh-CN' },
  { name: 'phone-light-zh', width: 390, height: 844, colorScheme: 'light', locale: 'zh-CN' },
  { name: 'phone-dark-en', width: 390, height: 844, colorScheme: 'dark', locale: 'en-GB' },
] as const

for (const look of LOOKS) {
  for (const [name, path] of Object.entries(PAGES)) {
    test(`${name} ${look.name}`, async ({ browser }) => {
      const page = await browser.newPage({
        viewport: { width: look.width, height: look.height },
        colorScheme: look.colorScheme,
        locale: look.locale,
      })
      await page.clock.install({ time: NOW })
      const fake = await fakeServer(page, !['sign-in', 'setup'].includes(name))
      await page.goto(ORIGIN + path)
      await page.getByRole('heading', { level: 1 }).waitFor()
      if (name === 'dashboard')
        await play(fake)
      await page.clock.runFor(1_000)
      await page.screenshot({ path: `test-results/shots/${name}-${look.name}.png`, fullPage: true })
      await page.close()
    })
  }
}

/** Ten minutes of the fleet's power. */
async function play(fake: Fake): Promise<void> {
  for (let ts = NOW - 600_000; ts <= NOW; ts += 5_000) {
    const online = devices.map((one, i) => (one.presence.state === 'online' ? powerAt(i, ts) : 0))
    fake.push({
      type: 'fleet', ts, total: 24, online: 21, offline: 2, never: 1, pending: 2,
      powerW: online.reduce((sum, watts) => sum + watts, 0), energyTodayWh: 31_240, locations: [],
    })
  }
  for (const [i, one] of devices.entries())
    fake.push({ type: 'telemetry', deviceId: one.deviceId, samples: [sample(powerAt(i, NOW), NOW)] })
}
