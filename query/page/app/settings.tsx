// The settings of a view, each with what it means and its bounds, as the server describes them.
import { h, Fragment } from "preact"
import { useState } from "preact/hooks"
import type { Problem } from "./api"
import * as format from "./format"
import { Copy, Trouble, troubleOf } from "./parts"
import { quote } from "./query"

export interface Setting { name: string; flag: string; title: string; text: string; kind: "seconds" | "count" | "switch" | "texts"; minimum: number; maximum: number; zero?: string; unlimited: boolean; default: number | boolean | null; of_forests: boolean }

type Value = number | boolean | string[]
export type Config = Record<string, unknown> & { view_id: string; members?: string[] }

const units: [number, string][] = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]

/** shortSpan is a time as the commands take it: 1h30m. */
export function shortSpan(seconds: number): string {
  if (seconds === 0) return "0"
  let out = ""
  for (const [length, unit] of units) {
    const n = unit === "s" ? Number((seconds % 60).toFixed(3)) : Math.floor(seconds / length)
    if (n > 0) out += n + unit
    seconds -= unit === "s" ? 0 : n * length
  }
  return out
}

/** parseSpan reads it; undefined: it is none. */
export function parseSpan(text: string): number | undefined {
  text = text.replaceAll(/\s/g, "").toLowerCase()
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  if (!/^(\d+(\.\d+)?(d|h|m|s))+$/.test(text)) return undefined
  let sum = 0
  for (const [, n, unit] of text.matchAll(/(\d+(?:\.\d+)?)([dhms])/g)) sum += Number(n) * units.find(u => u[1] === unit)![0]
  return sum
}

const show = (s: Setting, v: unknown): string => {
  if (s.kind === "texts") return ((v as string[] | null | undefined) ?? []).join("\n")
  if (v === -1 && s.unlimited) return "unlimited"
  return s.kind === "seconds" ? shortSpan(Number(v)) : format.count(Number(v))
}

/** read is the value of what was typed, or what is wrong with it. */
function read(s: Setting, text: string): Value | string {
  if (s.kind === "texts") return text.split("\n").map(t => t.trim()).filter(t => t !== "")
  text = text.trim()
  if (s.unlimited && text === "unlimited") return -1
  const n = s.kind === "seconds" ? parseSpan(text) : /^\d+$/.test(text.replaceAll(",", "")) ? Number(text.replaceAll(",", "")) : undefined
  if (n === undefined) return s.kind === "seconds" ? "A time, such as 90s, 6h or 7d" : "A whole number"
  if (n === 0 && s.zero) return 0
  return n >= s.minimum && n <= s.maximum ? n : "Out of bounds: " + bounds(s)
}

/** bounds are what may be typed, in words. */
export function bounds(s: Setting): string {
  const word = (n: number) => s.kind === "seconds" ? n > 366 * 86400 ? `${Math.round(n / 86400 / 366)} years` : shortSpan(n) : format.count(n)
  return `${word(s.minimum)} to ${word(s.maximum)}${s.unlimited ? ", or unlimited" : ""}${s.zero ? `; 0: ${s.zero}` : ""}`
}

interface Form { settings: Setting[]; config: Config | null; may?: boolean; line: (flags: string) => string; save: (fields: Record<string, Value>) => Promise<unknown>; saved: () => void }

/** SettingsForm changes the settings of a view, or with config null gives those of a new one. Only what is changed is sent. */
export function SettingsForm({ settings, config, may = true, line, save, saved }: Form) {
  const now = (s: Setting) => config ? config[s.name] ?? (s.kind === "texts" ? [] : s.kind === "switch" ? false : s.default) : s.default
  const [typed, set] = useState<Record<string, string | boolean>>({})
  const [problem, setProblem] = useState<Problem>(), [busy, setBusy] = useState(false), [done, setDone] = useState(false)
  const isForest = config ? Boolean(config.members?.length) : false
  const changed = settings.flatMap(s => {
    const t = typed[s.name]
    if (t === undefined || (typeof t === "boolean" ? t === now(s) : t === show(s, now(s)))) return []
    return [{ s, value: typeof t === "boolean" ? t : read(s, t) }]
  })
  const wrong = changed.some(c => typeof c.value === "string")
  const flags = changed.filter(c => typeof c.value !== "string").map(({ s, value }) => " " + flag(s, value as Value)).join("")
  return <form class="settings" onSubmit={async e => {
    e.preventDefault()
    if (wrong || !may) return
    setBusy(true)
    setProblem(undefined)
    try {
      await save(Object.fromEntries(changed.map(c => [c.s.name, c.value as Value])))
      set({})
      setDone(true)
      saved()
    } catch (e) {
      setProblem(troubleOf(e))
    }
    setBusy(false)
  }} onInput={() => setDone(false)}>
    <div class="grid">{settings.filter(s => config === null || s.of_forests === isForest).map(s => {
      const id = "setting-" + s.name, t = typed[s.name], value = t === undefined ? s.kind === "switch" ? Boolean(now(s)) : show(s, now(s)) : t
      const is = changed.find(c => c.s === s), error = is && typeof is.value === "string" ? is.value : ""
      return <div class={"setting" + (is ? " changed" : "")}>
        <label for={id}>{s.title}</label>
        {s.kind === "switch" ? <input id={id} type="checkbox" checked={Boolean(value)} aria-describedby={id + "-text"} onChange={e => set({ ...typed, [s.name]: e.currentTarget.checked })} /> :
          s.kind === "texts" ? <textarea id={id} rows={2} value={String(value)} spellcheck={false} aria-describedby={id + "-text"} onInput={e => set({ ...typed, [s.name]: e.currentTarget.value })} /> :
            <input id={id} value={String(value)} spellcheck={false} autocomplete="off" aria-invalid={error !== ""} aria-describedby={id + "-text"} onInput={e => set({ ...typed, [s.name]: e.currentTarget.value })} />}
        <span class="soft" id={id + "-text"}>{s.text}{s.kind === "texts" ? " One a line." : s.kind === "switch" ? <> Default: {s.default ? "yes" : "no"}.</> : <> {bounds(s)}; default {show(s, s.default)}.</>}
          {error && <span class="line wrong-text" role="alert">{error}</span>}</span>
      </div>
    })}</div>
    {problem && <Trouble problem={problem} />}
    <div class="row"><button type="submit" disabled={busy || wrong || !may || config !== null && changed.length === 0}>{config ? "Save" : "Create the view"}</button>
      {changed.length > 0 && config && <button type="button" class="plain" onClick={() => set({})}>Undo</button>}
      <span role="status" class="good">{done && config ? "✓ Saved; all parts follow within a minute" : ""}</span></div>
    <p class="soft shell">From a shell: <code>{line(flags)}</code> <Copy text={line(flags)} label="Copy" class="small" /></p>
  </form>
}

function flag(s: Setting, value: Value): string {
  if (typeof value === "boolean") return value ? s.flag : s.flag.replace("--", "--no-")
  if (Array.isArray(value)) return value.length ? `${s.flag} ${quote(value.join(","))}` : `${s.flag} ''`
  return `${s.flag} ${value === -1 ? "unlimited" : s.kind === "seconds" ? shortSpan(value) : value}`
}
