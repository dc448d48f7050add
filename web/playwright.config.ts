import { defineConfig } from '@playwright/test'

const chromium = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results',
  fullyParallel: false,
  workers: 1,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: [['list']],
  use: {
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: chromium,
      args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update', '--disable-sync',
      ],
    },
  },
  projects: [
    // The built page against answers from e2e/fake: every page, language, width and theme.
    { name: 'pages', testMatch: ['pages.spec.ts', 'system.spec.ts'] },
    // The built page inside the real binary.
    { name: 'dormouse', testMatch: 'dormouse.spec.ts' },
    // Pictures for the README and for looking at: npm run shots.
    ...(process.env['SHOTS'] ? [{ name: 'shots', testMatch: 'shots.spec.ts' }] : []),
  ],
})
