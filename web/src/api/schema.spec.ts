// @vitest-environment node
import { readFile } from 'node:fs/promises'
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript'
import { expect, test } from 'vitest'

test('schema.d.ts is what `npm run api` makes of docs/openapi.json', async () => {
  const document = new URL('../../../docs/openapi.json', import.meta.url)
  const nodes = await openapiTS(document, { defaultNonNullable: false, silent: true })
  const kept = await readFile(new URL('./schema.d.ts', import.meta.url), 'utf8')
  expect(kept).toBe(COMMENT_HEADER + astToString(nodes))
})
