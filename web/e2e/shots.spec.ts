// Pictures of every page; they show the built page with the fake fleet.

import { test } from '@playwright/test'
import { devices, NOW } from './fake/fleet'
import { fakeServer, ORIGIN } from './fake/server'

const PAGES = {
  'dashboard': '/',
  'devices': '/devices',
  'device': `/devices/${devices[8]?.deviceId ?? ''}`,
  'device-offline': `/devices/${devices[5]?.deviceId ?? ''}`,
  'inbox': '/inbox',
  'events': '/events',
  'system': '/system',
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
        isMobile: look.width < 500,
        hasTouch: look.width < 500,
      })
      await page.clock.install({ time: NOW })
      await fakeServer(page, !['sign-in', 'setup'].includes(name))
      await page.goto(ORIGIN + path)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.clock.runFor(1_000)
      await page.screenshot({ path: `test-results/shots/${name}-${look.name}.png`, fullPage: true })
      await page.close()
    })
  }
}

test('pictures for the README', async ({ browser }) => {
  const pictures = [
    { name: 'dashboard', path: PAGES.dashboard, colorScheme: 'light', locale: 'en-GB', width: 1280, height: 800 },
    { name: 'device', path: PAGES.device, colorScheme: 'light', locale: 'en-GB', width: 1280, height: 800 },
    { name: 'system', path: PAGES.system, colorScheme: 'light', locale: 'en-GB', width: 1280, height: 860 },
    { name: 'dashboard-zh', path: PAGES.dashboard, colorScheme: 'dark', locale: 'zh-CN', width: 1280, height: 800 },
    { name: 'device-phone-zh', path: PAGES.device, colorScheme: 'dark', locale: 'zh-CN', width: 390, height: 800 },
  ] as const
  for (const { name, path, colorScheme, locale, width, height } of pictures) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme, locale, isMobile: width < 500 })
    await page.clock.install({ time: NOW })
    await fakeServer(page)
    await page.goto(ORIGIN + path)
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.clock.runFor(1_000)
    await page.screenshot({ path: `../docs/images/${name}.png` })
    await page.close()
  }
})
