// The component library dressed in the tokens of tokens.css. Its colour
// arithmetic needs literal values, so they are repeated here.

import type { GlobalThemeOverrides } from 'naive-ui'

/** What the page and its charts are painted with. */
export interface Palette {
  readonly ground: string
  readonly surface: string
  readonly sunk: string
  readonly line: string
  readonly ink: string
  readonly inkSoft: string
  readonly accent: string
  readonly good: string
  readonly bad: string
  readonly warn: string
}

export const LIGHT: Palette = {
  ground: '#f5f5f2',
  surface: '#ffffff',
  sunk: '#efefeb',
  line: '#e2e2dc',
  ink: '#1d2225',
  inkSoft: '#5b646a',
  accent: '#0f6b7d',
  good: '#1f7a45',
  bad: '#c42b2b',
  warn: '#9a5b00',
}

export const DARK: Palette = {
  ground: '#14171a',
  surface: '#1c2125',
  sunk: '#23292e',
  line: '#2f363c',
  ink: '#e8ebed',
  inkSoft: '#a7b0b7',
  accent: '#58bccd',
  good: '#5cc98a',
  bad: '#ff7b72',
  warn: '#e3a94b',
}

/** The library's theme for a palette. */
export function overrides(palette: Palette): GlobalThemeOverrides {
  const onAccent = palette === DARK ? '#0c1f23' : '#ffffff'
  return {
    common: {
      fontFamily: 'var(--font)',
      fontFamilyMono: 'var(--font-mono)',
      primaryColor: palette.accent,
      primaryColorHover: palette.accent,
      primaryColorPressed: palette.accent,
      primaryColorSuppl: palette.accent,
      successColor: palette.good,
      errorColor: palette.bad,
      errorColorHover: palette.bad,
      errorColorPressed: palette.bad,
      errorColorSuppl: palette.bad,
      warningColor: palette.warn,
      bodyColor: palette.ground,
      cardColor: palette.surface,
      modalColor: palette.surface,
      popoverColor: palette.surface,
      tableColor: palette.surface,
      inputColor: palette.surface,
      borderColor: palette.line,
      dividerColor: palette.line,
      textColorBase: palette.ink,
      textColor1: palette.ink,
      textColor2: palette.ink,
      textColor3: palette.inkSoft,
      placeholderColor: palette.inkSoft,
      borderRadius: '8px',
    },
    Button: {
      textColorPrimary: onAccent,
      textColorHoverPrimary: onAccent,
      textColorPressedPrimary: onAccent,
      textColorFocusPrimary: onAccent,
      textColorDisabledPrimary: onAccent,
    },
    Input: { color: palette.sunk, colorFocus: palette.surface, border: `1px solid ${palette.line}` },
    InternalSelection: { color: palette.sunk, colorActive: palette.surface, border: `1px solid ${palette.line}` },
    Switch: {
      railColorActive: palette.accent,
      loadingColor: palette.accent,
      railBorderRadiusMedium: '11px',
      buttonBorderRadiusMedium: '9px',
    },
  }
}
