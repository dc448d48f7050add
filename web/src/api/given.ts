// Leaving out what is not there.

/** Members that have a value: neither missing nor `null` nor empty. */
export type Given<T> = { [K in keyof T]?: NonNullable<T[K]> }

/** The members of `values` that are given. */
export function given<T extends object>(values: T): Given<T> {
  const known = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '')
  return Object.fromEntries(known) as Given<T>
}
