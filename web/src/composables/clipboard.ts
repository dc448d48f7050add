// Copying text, also on plain HTTP where browsers hide the clipboard API.

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return copyBySelection(text)
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea')
  area.value = text
  area.style.position = 'fixed'
  area.style.opacity = '0'
  // Inside an open dialog the focus is trapped; stay within it.
  const host = document.querySelector('[role="dialog"]') ?? document.body
  host.append(area)
  area.select()
  // Deprecated, and the only way without HTTPS.

  const done = document.execCommand('copy')
  area.remove()
  return done
}
