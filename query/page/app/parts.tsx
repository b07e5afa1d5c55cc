// What all pages are made of: names, times, sizes, links, and the states of a question.
import { h, Fragment, createContext, type ComponentChildren } from "preact"
import { useContext, useEffect, useRef, useState } from "preact/hooks"
import { write, type Place } from "./address"
import { ask, Failure, type Node, type Params, type Problem } from "./api"
import * as format from "./format"
import { exactText, nameOf, parts, quoted, type Path } from "./paths"

/** Here is the place that is shown, and the ways to others. */
export interface Here {
  place: Place
  go: (to: Partial<Place>, how?: "replace") => void
  now: number // changes when the view does: questions are asked again
  forest: boolean
}

export const HereContext = createContext<Here>(null as unknown as Here)
export const useHere = () => useContext(HereContext)

/** focusContent gives the focus to the content if what had it is gone, so that the next Tab or ↓ goes on there. */
export function focusContent() {
  const at = document.activeElement
  if (at === null || at === document.body || !at.isConnected) document.getElementById("content")?.focus({ preventScroll: true })
}

/** A is a link to a place of this view: a real one, that also opens in another tab. */
export function A({ to, children, ...rest }: { to: Partial<Place>; children: ComponentChildren; class?: string; title?: string; "aria-current"?: "page" | "true" | undefined; "data-row"?: string }) {
  const { place, go } = useHere()
  return <a {...rest} href={write({ ...place, ...to })} onClick={e => {
    if (e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return
    e.preventDefault()
    go(to)
  }}>{children}</a>
}

/** Name shows a name so that it cannot turn, break or imitate anything around it. mark is the part that a search found. */
export function Name({ of, mark = "" }: { of: Path; mark?: string }) {
  return <bdi class="text">{parts(of).map(p => p.raw ? <span class="raw" title="bytes that are not text">{p.text}</span> : <Marked text={p.text} mark={mark} />)}</bdi>
}

function Marked({ text, mark }: { text: string; mark: string }) {
  if (mark === "") return <>{text}</>
  const out: ComponentChildren[] = []
  const [low, part] = [text.toLowerCase(), mark.toLowerCase()]
  let from = 0
  for (let at = low.length === text.length ? low.indexOf(part) : -1; at >= 0; at = low.indexOf(part, from)) {
    out.push(text.slice(from, at), <mark>{text.slice(at, at + part.length)}</mark>)
    from = at + part.length
  }
  return <>{out}{text.slice(from)}</>
}

export function When({ at }: { at: number | null | undefined }) {
  return at === null || at === undefined ? <Fragment /> : <time title={format.exact(at)}>{format.time(at).slice(0, 10)}<span class="hour">{format.time(at).slice(10)}</span></time>
}

export function Ago({ at }: { at: number | null | undefined }) {
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick(n => n + 1), 5000)
    return () => clearInterval(timer)
  }, [])
  return at ? <time title={`${format.time(at)} here · ${format.exact(at)}`}>{format.ago(at)}</time> : <Fragment />
}

export function Size({ of, sign = false }: { of: number | null | undefined; sign?: boolean }) {
  if (of === null || of === undefined) return <Fragment />
  return <span title={format.count(of) + " bytes"}>{sign ? format.change(of) : format.size(of)}</span>
}

const shapes: Record<string, [string, h.JSX.Element]> = {
  d: ["directory", <path fill="currentColor" d="M1.5 3A1.5 1.5 0 0 1 3 1.5h3l1.6 2H13A1.5 1.5 0 0 1 14.5 5v7.5A1.5 1.5 0 0 1 13 14H3a1.5 1.5 0 0 1-1.5-1.5z" />],
  f: ["file", <path fill="none" stroke="currentColor" stroke-width="1.2" stroke-linejoin="round" d="M3.5 1.6h5.6l3.4 3.4v9.4h-9zM9 1.6V5h3.5" />],
  l: ["symlink", <path fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" d="M3 13c0-4.5 3-7 9.5-7M9 2.5 12.8 6 9 9.5" />],
  o: ["special file", <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.2" stroke-dasharray="2.5 2" />],
}

export function Icon({ type }: { type: string }) {
  const [label, shape] = shapes[type] ?? shapes.o!
  return <svg class={type === "d" ? "icon directory" : "icon"} viewBox="0 0 16 16" role="img" aria-label={label}>{shape}</svg>
}

/** Marks are what is to be known of an entry before it is believed. */
export function Marks({ of }: { of: Node }) {
  return <>
    {of.integrity_suspect && <span class="badge" title="This file changed recently and may still be written to">being written?</span>}
    {of.agent_missing && <span class="badge" title="A scan found this change; no agent reported it">blind spot</span>}
    {of.unreadable ? <span class="badge" title="The last scans could not read everything at or below this path, so what is shown lacks something">{format.plural(of.unreadable, "path could not be read", "paths could not be read")}</span> : null}
    {of.oddities?.map(o => <span class="badge">{o.replaceAll("-", " ")}</span>)}
  </>
}

/** Answer is a question's state. data stays while a newer answer is on its way. again asks anew. */
export interface Answer<T> { data?: T; problem?: Problem; loading: boolean; again: () => void }

/** troubleOf is what went wrong, to be shown. */
export const troubleOf = (e: unknown): Problem => e instanceof Failure ? e.problem : { status: -1, title: "This page failed", detail: String(e) }

/** mayPass says whether a question may be answered by itself later: the server, the store or a proxy between does not answer now, or a first scan runs. */
export const mayPass = (p: Problem): boolean => p.status === 0 || p.status === 502 || p.status === 503 || p.status === 504

/** askAgainAfter is how many milliseconds the nth try (from 0) that failed is in the past when the next one is made. */
export const askAgainAfter = (n: number): number => Math.min(500 * 2 ** n, 8000)

/** useAsk asks, and asks again when the question or the view changes; overtaken requests are cancelled. null asks nothing. */
export function useAsk<T>(call: string | null, given: Params, options: { view?: string; live?: boolean; every?: number } = {}): Answer<T> {
  const { place, now } = useHere()
  const view = options.view ?? place.view
  const key = call === null ? null : JSON.stringify([view, call, given])
  const [answer, set] = useState<Omit<Answer<T>, "again"> & { key: string | null }>({ loading: true, key: null })
  const [again, setAgain] = useState(0)
  const tick = options.live === false ? 0 : now
  const tries = useRef(0)
  useEffect(() => {
    if (key === null || call === null) return
    const abort = new AbortController()
    let timer = 0
    set(was => ({ ...was.key === key ? was : { key }, loading: true, key } as typeof was))
    ask<T>(view, call, given, abort.signal).then(
      data => {
        tries.current = 0
        set({ data, loading: false, key })
        if (options.every) timer = window.setTimeout(() => setAgain(n => n + 1), options.every)
      },
      (e: unknown) => {
        if (abort.signal.aborted) return
        const problem = troubleOf(e)
        set(was => ({ ...mayPass(problem) && !problem.progress && was.data !== undefined ? { data: was.data } : {}, problem, loading: false, key }))
        if (mayPass(problem)) timer = window.setTimeout(() => setAgain(n => n + 1), askAgainAfter(tries.current++))
      })
    return () => {
      abort.abort()
      clearTimeout(timer)
    }
  }, [key, tick, again])
  return { ...answer.key === key ? answer : { loading: key !== null }, again: () => setAgain(n => n + 1) }
}

/** Shown is an answer's content, or why there is none yet. */
export function Shown<T>({ answer, children }: { answer: Answer<T>; children: (data: T) => ComponentChildren }) {
  if (answer.data !== undefined) return <>{answer.problem && <Trouble problem={answer.problem} />}{children(answer.data)}</>
  if (answer.problem) return <Trouble problem={answer.problem} />
  return <Loading />
}

export function Loading() {
  return <div class="loading" role="status"><span class="spinner" aria-hidden="true" />Asking…</div>
}

export function Trouble({ problem }: { problem: Problem }) {
  const { place } = useHere()
  const p = problem.progress
  return <div class="trouble-box" role="alert">
    <h2>{problem.status === 401 ? "Your login has ended" : problem.status === 403 ? "You may not see this" : problem.status === 503 && p ? "The first scan is running" : problem.title}</h2>
    <p>{problem.detail}</p>
    {p && <p><b>{format.count(p.files ?? 0)}</b> files, <b>{format.count(p.directories ?? 0)}</b> directories, <b>{format.size(p.bytes ?? 0)}</b> so far</p>}
    {problem.hint && <p class="soft">{problem.hint}</p>}
    {problem.status === 401 && <p><a class="button" href={write(place)} onClick={e => { e.preventDefault(); location.reload() }}>Log in again</a></p>}
    {problem.status === 404 && place.path !== "/" && <p><A to={{ path: place.path.slice(0, place.path.lastIndexOf("/")) || "/", show: place.show === "map" ? "map" : "list" }}>Up one directory</A></p>}
    {problem.nearest && <p>{[problem.nearest.before, problem.nearest.after].filter(v => v !== undefined).map(v => <><A to={{ asOf: String(v.version) }}>Version {v.version}</A> of <When at={v.published_at} /> </>)}</p>}
  </div>
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>
}

/** Copy puts a text on the clipboard, and says so. */
export function Copy({ text, label, title, class: classes = "plain" }: { text: string; label: string; title?: string; class?: string }) {
  const [done, set] = useState("")
  return <button type="button" class={classes} title={title ?? text} onClick={async () => {
    set(await copied(text) ? "Copied" : "Not allowed here")
    setTimeout(() => set(""), 1500)
  }}><span aria-live="polite">{done || label}</span></button>
}

async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch { // without TLS browsers offer the old way alone
    const box = document.createElement("textarea")
    box.value = text
    box.className = "hidden"
    document.body.append(box)
    box.select()
    const done = document.execCommand("copy")
    box.remove()
    return done
  }
}

/** CopyPath copies a path: as it is where it is text, and otherwise as a shell takes it, byte for byte. */
export function CopyPath({ of }: { of: Path }) {
  const exact = exactText(of)
  const plain = exact !== null && parts(of).every(p => !p.raw)
  return <Copy text={plain ? exact : quoted(of)} label="Copy path" title={plain ? "Copy the path" : "Copy the path as a shell takes it, byte for byte"} />
}

/** Menu is a button that opens a small panel; Escape and a click elsewhere close it. */
export function Menu({ label, title, children, class: classes = "" }: { label: ComponentChildren; title?: string; children: ComponentChildren; class?: string }) {
  const box = useRef<HTMLDetailsElement>(null)
  useEffect(() => {
    const close = (e: Event) => {
      if (box.current?.open && (!box.current.contains(e.target as globalThis.Node) || e instanceof KeyboardEvent && e.key === "Escape")) box.current.open = false
    }
    document.addEventListener("click", close)
    document.addEventListener("keydown", close)
    return () => {
      document.removeEventListener("click", close)
      document.removeEventListener("keydown", close)
    }
  }, [])
  return <details class={"menu " + classes} ref={box}><summary class="button" title={title}>{label}</summary><div class="panel">{children}</div></details>
}

/** Choice is one of a few, as buttons beside each other. */
export function Choice<T extends string>({ label, of, at, set }: { label: string; of: readonly (readonly [T, string])[]; at: T; set: (to: T) => void }) {
  return <div class="choice" role="group" aria-label={label}><span class="choice-label" aria-hidden="true">{label}</span>
    {of.map(([value, text]) => <button type="button" aria-pressed={value === at} onClick={() => set(value)}>{text}</button>)}</div>
}

export const titleOf = (p: Place) => p.path === "/" ? p.view : parts(nameOf(p.path)).map(x => x.text).join("")
