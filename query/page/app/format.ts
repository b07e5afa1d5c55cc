// How figures and times are written.

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]

/** The API's sums stop here, and stand for as many bytes or more. */
export const maxSum = 9223372036854775807

export function size(n: number): string {
  if (n >= maxSum) return "≥ 8.0 EiB"
  const negative = n < 0 ? "−" : ""
  n = Math.abs(n)
  let unit = 0
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024
    unit++
  }
  const digits = unit === 0 || n >= 99.95 ? 0 : 1
  return `${negative}${n.toFixed(digits)} ${units[unit]}`
}

/** change is a size with its sign. */
export const change = (n: number) => (n > 0 ? "+" : "") + size(n)

const counts = new Intl.NumberFormat("en")
export const count = (n: number) => counts.format(n)
export const signed = (n: number) => (n > 0 ? "+" : "") + count(n).replace("-", "−")
export const plural = (n: number, one: string, many: string) => `${count(n)} ${n === 1 ? one : many}`
export const percent = (share: number) => share >= 0.0995 ? Math.round(share * 100) + " %" : share >= 0.001 ? (share * 100).toFixed(1) + " %" : share > 0 ? "< 0.1 %" : "0 %"

/** time is Unix seconds in the reader's zone, to the minute; exact is the same in UTC with all that is known. */
export function time(seconds: number): string {
  const d = new Date(seconds * 1000)
  if (isNaN(d.getTime())) return "out of range"
  const two = (n: number) => String(n).padStart(2, "0")
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`
}

export function exact(seconds: number): string {
  const d = new Date(seconds * 1000)
  return isNaN(d.getTime()) ? `${seconds} s after 1970` : d.toISOString().replace("T", " ").replace(/\.?0*Z$/, "") + " UTC"
}

const steps: [number, string][] = [[31557600, "year"], [2629800, "month"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]

/** span is a time's length in words. */
export function span(seconds: number): string {
  for (const [length, name] of steps) {
    const n = Math.floor(seconds / length)
    if (n >= 1) return `${n} ${name}${n === 1 ? "" : "s"}`
  }
  return "less than a second"
}

export const ago = (seconds: number, now = Date.now() / 1000) => seconds >= now - 1 ? "just now" : span(now - seconds) + " ago"

/** between is a bucket of a histogram in words. */
export function between(of: string, from: number | null, to: number | null): string {
  const word = of === "size" ? size : shortSpan
  if (of === "size") return from === null ? `under ${word(to!)}` : to === null ? `${word(from)} and more` : from === 0 && to <= 1 ? "empty" : `${word(from)} – ${word(to)}`
  if (from === null || to !== null && to <= 0) return "in the future"
  return to === null ? `older than ${word(from)}` : from === 0 ? `under ${word(to)}` : `${word(from)} – ${word(to)}`
}

function shortSpan(seconds: number): string {
  const days = seconds / 86400
  return days >= 365 ? Math.round(days / 365) + " y" : days >= 30 ? Math.round(days / 30) + " mo" : days >= 1 ? Math.round(days) + " d" : Math.round(seconds / 3600) + " h"
}
