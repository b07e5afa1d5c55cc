// The calls of docs/api.md, as the pages make them: with the browser's cookie, and so that a call that is overtaken is cancelled.
import { params, type Path, ofFields } from "./paths"

/** base is the path at which the server is, as this script's own address says: "" or "/prefix". */
export const base = new URL(import.meta.url).pathname.replace(/\/web\/app\.js$/, "")

export interface Totals {
  files: number; directories: number; others: number; bytes: number; allocated: number; unmeasured: number; latest_mtime: number | null; saturated?: boolean
}

export interface Node {
  name: string; path: string; path_b64?: string; content_type: "file" | "directory" | "symlink" | "other"; type: "f" | "d" | "l" | "o"
  size: number; modified_time: number; created_time: number | null; mode: number; uid: number; gid: number; owner: string; group: string
  allocated?: number; links?: number; acl?: string; integrity_suspect: boolean; agent_missing: boolean; last_agent_id: string; source_uri: string
  target?: string; target_b64?: string; subtree?: Totals; unreadable?: number; attributes_hidden?: boolean; member?: string; oddities?: string[]
  suspect_until?: number; found_at?: number
}

export const pathOf = (n: { path: string; path_b64?: string }): Path => ofFields(n.path, n.path_b64)

/** bytes and its twin of allocated bytes: what is at and below a node; null where that is hidden or nobody told. */
export function weight(n: Node, by: Measure): number | null {
  if (n.attributes_hidden) return null
  if (n.type === "d") return n.subtree ? (by === "allocated" ? n.subtree.allocated : n.subtree.bytes) : null
  if (by === "allocated") return n.allocated ?? null
  return n.type === "f" ? n.size : 0
}

export type Measure = "apparent" | "allocated"

export interface Member { view: string; status: string; error?: string }

export interface Problem { status: number; title: string; detail: string; hint?: string; progress?: Partial<Totals>; nearest?: { before?: Version; after?: Version } }

export interface Version { version: number; published_at: number; current?: boolean; kept?: string[]; files?: number; bytes?: number; pins?: string[] }

/** Failure is an answer that is none. */
export class Failure extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail)
  }
}

export type Params = Record<string, string | number | boolean | string[] | undefined>

export function callURL(view: string, call: string, given: Params): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(given)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== "") q.append(name, String(one))
    }
  }
  const text = q.toString()
  if (call.startsWith("/")) return `${base}/api/v1${call}${text ? "?" + text : ""}` // of no view
  return `${base}/api/v1/views${view === "" ? "" : `/${view}/${call}`}${text ? "?" + text : ""}`
}

/** ask makes a call and takes its JSON. */
export async function ask<T>(view: string, call: string, given: Params, signal?: AbortSignal): Promise<T> {
  const url = callURL(view, call, given)
  let answer: Response
  try {
    answer = await fetch(url, { signal: signal ?? null, headers: { Accept: "application/json" }, credentials: "same-origin" })
  } catch (e) {
    if ((e as Error).name === "AbortError") throw e
    throw new Failure({ status: 0, title: "No answer", detail: "The server does not answer.", hint: "It may be restarting, or the network is down. The page tries again by itself." })
  }
  if (answer.ok) return await answer.json() as T
  throw new Failure(await problemOf(answer))
}

/** change makes an administrator's call that changes something, and takes its JSON if it has any. */
export async function change<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: object): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(`${base}/api/v1/admin${path}`, { method, headers: { Accept: "application/json", ...body ? { "Content-Type": "application/json" } : {} }, body: body ? JSON.stringify(body) : null, credentials: "same-origin" })
  } catch {
    throw new Failure({ status: 0, title: "No answer", detail: "The server does not answer, so it is not known whether this was done.", hint: "Look again when it answers." })
  }
  if (!answer.ok) throw new Failure(await problemOf(answer))
  return (answer.status === 204 ? true : await answer.json()) as T
}

async function problemOf(answer: Response): Promise<Problem> {
  const known = { status: answer.status, title: answer.statusText, detail: `The server answers ${answer.status}.` }
  try {
    return { ...known, ...await answer.json() }
  } catch {
    return known // a proxy's page, for example
  }
}

export const below = (path: Path, asOf: string): Params => ({ ...params(path), as_of: asOf })
