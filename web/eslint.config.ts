import stylistic from '@stylistic/eslint-plugin'
import vue from 'eslint-plugin-vue'
import { defineConfig, globalIgnores } from 'eslint/config'
import ts from 'typescript-eslint'

export default defineConfig(
  globalIgnores(['dist', 'test-results', 'playwright-report', 'src/api/schema.d.ts']),
  ts.configs.strict,
  ts.configs.stylistic,
  vue.configs['flat/recommended'],
  stylistic.configs.customize({ braceStyle: '1tbs', arrowParens: true }),
  {
    languageOptions: { parserOptions: { parser: ts.parser, extraFileExtensions: ['.vue'], sourceType: 'module' } },
    rules: {
      '@stylistic/max-len': ['error', { code: 120, ignoreStrings: true, ignoreUrls: true }],
      'max-lines': ['error', { max: 300, skipBlankLines: true }],
      'no-console': 'error',
      'vue/block-order': ['error', { order: ['script', 'template', 'style'] }],
      'vue/component-api-style': ['error', ['script-setup']],
      'vue/define-macros-order': 'error',
      'vue/max-attributes-per-line': ['error', { singleline: 4, multiline: 1 }],
      'vue/multi-word-component-names': 'off',
      'vue/no-unused-refs': 'error',
      'vue/singleline-html-element-content-newline': 'off',
    },
  },
)
