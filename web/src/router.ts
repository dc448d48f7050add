// Addresses of the pages. All but the frame are loaded when first visited.

import { createRouter, createWebHistory, type RouteLocationRaw } from 'vue-router'
import { useSession } from '@/stores/session'

declare module 'vue-router' {
  interface RouteMeta {
    /** Reachable without signing in, and shown without the navigation. */
    open?: boolean
    /** Key of the title in the translations. */
    title?: string
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: '/', name: 'dashboard', component: () => import('@/pages/Dashboard.vue'), meta: { title: 'dashboard.title' } },
    { path: '/devices', name: 'devices', component: () => import('@/pages/Devices.vue'), meta: { title: 'devices.title' } },
    {
      path: '/devices/:deviceId',
      name: 'device',
      component: () => import('@/pages/Device.vue'),
      props: true,
    },
    { path: '/inbox', name: 'inbox', component: () => import('@/pages/Inbox.vue'), meta: { title: 'inbox.title' } },
    { path: '/events', name: 'events', component: () => import('@/pages/Events.vue'), meta: { title: 'event.title' } },
    { path: '/system', name: 'system', component: () => import('@/pages/System.vue'), meta: { title: 'system.title' } },
    {
      path: '/sign-in',
      name: 'sign-in',
      component: () => import('@/pages/SignIn.vue'),
      meta: { open: true, title: 'session.title' },
    },
    {
      path: '/setup',
      name: 'setup',
      component: () => import('@/pages/Setup.vue'),
      meta: { open: true, title: 'setup.title' },
    },
    { path: '/:rest(.*)*', name: 'missing', component: () => import('@/pages/NotFound.vue'), meta: { title: 'errors.missing' } },
  ],
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
})

router.beforeEach(async (to): Promise<boolean | RouteLocationRaw> => {
  if (to.name === 'setup')
    return true
  const session = useSession()
  try {
    await session.load()
  } catch {
    return false
  }
  if (to.name === 'sign-in')
    return session.session ? { name: 'dashboard' } : true
  if (session.session)
    return true
  return { name: 'sign-in', query: to.fullPath === '/' ? {} : { to: to.fullPath } }
})

// After an upgrade of the server the chunks of an open page are gone: load it anew, once.
router.onError((error: unknown, to) => {
  if (!(error instanceof TypeError || (error instanceof Error && /import|preload|chunk/i.test(error.message))))
    return
  const key = 'dormouse.reloaded'
  if (sessionStorage.getItem(key) !== to.fullPath) {
    sessionStorage.setItem(key, to.fullPath)
    window.location.assign(to.fullPath)
  }
})
router.afterEach(() => {
  sessionStorage.removeItem('dormouse.reloaded')
})
