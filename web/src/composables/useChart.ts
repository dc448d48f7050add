// What every time chart on the page shares: colours, language, units.

import { computed, type ComputedRef } from 'vue'
import { useI18n } from 'vue-i18n'
import type { Range, TimeChart } from '@/components/chart/option'
import type { Point } from '@/domain/series'
import { tagOf } from '@/i18n'
import { usePreferences } from '@/stores/preferences'
import { DARK, LIGHT } from '@/style/theme'

export interface PowerCurve {
  points: readonly Point[]
  band?: readonly Range[]
  from: number
  to: number
}

export function usePowerChart(curve: () => PowerCurve): ComputedRef<TimeChart> {
  const preferences = usePreferences()
  const { t } = useI18n()
  return computed(() => {
    const { points, band = [], from, to } = curve()
    return {
      points,
      band,
      from,
      to,
      palette: preferences.dark ? DARK : LIGHT,
      locale: tagOf(preferences.language),
      value: preferences.format.power,
      tick: preferences.format.powerTick,
      moment: preferences.format.moment,
      names: {
        value: band.length > 0 ? t('field.mean') : t('field.power'),
        min: t('field.min'),
        max: t('field.max'),
      },
    }
  })
}
