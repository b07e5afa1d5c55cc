// The address is the state of the page: view, path, what is shown and how. Whoever gets it sent sees the same.
import { base } from "./api"
import { fromURL, toURL, type Path } from "./paths"
import { filterNames, type Filters } from "./query"

export type Show = "list" | "map" | "search" | "insight" | "state" | "admin"
export type Section = "views" | "keys" | "sessions" | "retention" | "cost"

export interface Place {
  view: string
  path: Path
  show: Show
  asOf: string
  sort: "name" | "size" | "allocated" | "mtime"
  by: "apparent" | "allocated"
  color: "age" | "owner" | "extension" | "growth"
  since: string
  report: string
  section: Section // of administration
  q: string
  filters: Filters
}

const defaults = { sort: "name", by: "apparent", color: "age", since: "", report: "owners", section: "views", q: "" } as const

const pick = <T extends string>(value: string | null, allowed: readonly T[], absent: T): T => allowed.includes(value as T) ? value as T : absent

export function read(url: URL): Place {
  const rest = url.pathname.slice(base.length)
  const [, page, view = ""] = rest.split("/")
  const q = url.searchParams
  const filters: Filters = {}
  for (const name of filterNames) {
    const values = q.getAll(name).filter(v => v !== "")
    if (values.length > 0) filters[name] = values
  }
  const show: Show = page === "state" || page === "admin" ? page : q.has("show") ? pick(q.get("show"), ["list", "map", "insight"], "list") : q.has("q") ? "search" : "list"
  return {
    view, path: page === "state" || page === "admin" ? "/" : fromURL(rest.slice(`/browse/${view}`.length)), show, asOf: q.get("as_of") ?? "",
    sort: pick(q.get("sort"), ["name", "size", "allocated", "mtime"], "name"), by: pick(q.get("by"), ["apparent", "allocated"], "apparent"),
    color: pick(q.get("color"), ["age", "owner", "extension", "growth"], "age"), since: q.get("since") ?? "", report: q.get("report") ?? defaults.report,
    section: pick(q.get("section"), ["views", "keys", "sessions", "retention", "cost"], "views"),
    q: q.get("q") ?? "", filters,
  }
}

/** write is the address of a place. What a page does not need is left out. */
export function write(p: Place): string {
  const q = new URLSearchParams()
  const set = (name: keyof typeof defaults) => p[name] !== defaults[name] && q.set(name, p[name])
  if (p.asOf) q.set("as_of", p.asOf)
  if (p.show === "state") return `${base}/state/${p.view}`
  if (p.show === "admin") return `${base}/admin${p.view && "/" + p.view}${p.section === defaults.section ? "" : "?section=" + p.section}`
  if (p.show === "map" || p.show === "insight") q.set("show", p.show)
  if (p.show === "list") set("sort")
  if (p.show === "map") ["by", "color"].forEach(name => set(name as "by"))
  if (p.show === "map" || p.show === "insight") set("since")
  if (p.show === "insight") set("report")
  if (p.show === "search") q.set("q", p.q)
  if (p.show === "insight") set("q")
  if (p.show === "search" || p.show === "insight") {
    for (const [name, values] of Object.entries(p.filters)) values.forEach(v => q.append(name, v))
  }
  const text = q.toString()
  return `${base}/browse/${p.view}${p.path === "/" ? "" : toURL(p.path)}${text ? "?" + text : ""}`
}
