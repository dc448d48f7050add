// Line icons on a 24-pixel grid, as path data.

export const ICONS = {
  dashboard: 'M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-4H4zM14 4v4h6V4z',
  devices: 'M3 8h18v8H3zM7 12h.01M12 12h.01M17 12h.01',
  inbox: 'M4 13l3-8h10l3 8v6H4zM4 13h5l1.5 2.5h3L15 13h5',
  events: 'M12 7v5l3.5 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z',
  system: 'M3 12h4l2.5-6 5 12 2.5-6h4',
  power: 'M13 3 5 14h6l-1 7 8-11h-6z',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20 20',
  plus: 'M12 5v14M5 12h14',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  edit: 'M5 19h4L19 9l-4-4L5 15zM13 7l4 4',
  key: 'M14 10a4 4 0 1 0-4 4 4 4 0 0 0 4-4zM13 13l7 7M17 17l2-2',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  check: 'M5 12.5 10 17 19 7',
  cross: 'M6 6l12 12M18 6 6 18',
  clock: 'M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z',
  stop: 'M7 7h10v10H7z',
  warn: 'M12 4 2.5 20h19zM12 10v4M12 17v.01',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M4 12H2M22 12h-2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  moon: 'M20 14.5A8 8 0 1 1 9.5 4 6.5 6.5 0 0 0 20 14.5z',
  language: 'M3 6h10M8 4v2M11 6c-1 4-4 7-7 8M5.5 9.500c1 2 3 3.5 5.5 4.500M12.5 20l4.5-11 4.5 11M14.2 16.500h5.6',
  signOut: 'M14 4H5v16h9M10 12h10M17 8.500l3.5 3.5-3.5 3.5',
  back: 'M14 6l-6 6 6 6',
  restart: 'M19 12a7 7 0 1 1-2.2-5.100M19 4v4h-4',
  plug: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4',
} as const

export type IconName = keyof typeof ICONS
