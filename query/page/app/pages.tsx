// A list that goes on as one scrolls: pages of a call, one behind the other, by their cursors.
import { h } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { ask, type Member, type Params, type Problem } from "./api"
import { askAgainAfter, mayPass, Trouble, troubleOf, useHere } from "./parts"

export interface Page<T> { entries: T[]; next_cursor?: string; version?: number; more?: number; members?: Member[]; complete?: boolean; unreadable?: number }

export interface Pages<T> {
  rows: T[] | undefined
  first: Page<T> | undefined
  problem: Problem | undefined
  loading: boolean
  more: (() => void) | undefined
  milliseconds: number
}

/** usePages asks for the first page, and for the next ones when more is called. call null asks nothing. delay is waited for before asking. */
export function usePages<T>(call: string | null, given: Params, options: { live?: boolean; delay?: number } = {}): Pages<T> {
  const { place, now } = useHere()
  const key = JSON.stringify([place.view, call, given])
  const [state, set] = useState<Pages<T> & { key: string; cursor?: string }>({ key: "", rows: undefined, first: undefined, problem: undefined, loading: true, more: undefined, milliseconds: 0 })
  const asking = useRef<AbortController | null>(null)
  const tick = options.live === false ? 0 : now

  const load = (cursor: string | undefined, had: T[]) => {
    asking.current?.abort()
    const abort = asking.current = new AbortController()
    const began = performance.now()
    set(was => ({ ...was, loading: true, problem: undefined }))
    ask<Page<T>>(place.view, call!, { ...given, cursor }, abort.signal).then(
      page => (tries.current = 0, set(was => ({
        key, rows: [...had, ...page.entries], first: cursor === undefined ? page : was.first, problem: undefined, loading: false, more: undefined,
        milliseconds: performance.now() - began, ...page.next_cursor ? { cursor: page.next_cursor } : {},
      }))),
      (e: unknown) => {
        if (abort.signal.aborted) return
        const problem = troubleOf(e)
        set(was => ({ key, rows: was.key === key ? was.rows : undefined, first: was.key === key ? was.first : undefined, problem, loading: false, more: undefined, milliseconds: 0 }))
        if (mayPass(problem)) retry.current = window.setTimeout(() => load(cursor, had), askAgainAfter(tries.current++))
      })
  }
  const retry = useRef(0), tries = useRef(0)
  useEffect(() => {
    if (call === null) return
    // What was read further down would be lost by a refresh, so only a first page follows the view.
    if (state.key === key && state.first && state.rows!.length > state.first.entries.length) return
    const timer = setTimeout(() => load(undefined, []), state.key === key ? 0 : options.delay ?? 0)
    return () => {
      clearTimeout(timer)
      clearTimeout(retry.current)
      asking.current?.abort()
    }
  }, [key, tick])
  const fresh = state.key === key
  return {
    ...state, loading: call !== null && (state.loading || !fresh),
    more: fresh && state.cursor && !state.loading ? () => load(state.cursor, state.rows ?? []) : undefined,
  }
}

/** End is the end of a list that may go on: what comes into sight asks for more. */
export function End<T>({ of, what }: { of: Pages<T>; what: string }) {
  const box = useRef<HTMLDivElement>(null)
  const more = useRef(of.more)
  more.current = of.more
  useEffect(() => {
    const watch = new IntersectionObserver(seen => seen.some(s => s.isIntersecting) && more.current?.(), { rootMargin: "600px" })
    if (box.current) watch.observe(box.current)
    return () => watch.disconnect()
  }, [of.rows?.length, of.more !== undefined])
  return <div ref={box} class="end">
    {of.problem && of.rows && <Trouble problem={of.problem} />}
    {of.more ? <button type="button" onClick={of.more}>More {what}</button> : of.loading && of.rows ? <span class="soft">Asking for more…</span> : null}
  </div>
}
