// The page: what stands around every place, and the way from one to another. The server's own page, which needs no script, stands below it
// until this runs.
import { h, Fragment, render } from "preact"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { Admin, administration } from "./admin"
import { read, write, type Place, type Show } from "./address"
import { base, below, type Member, type Node } from "./api"
import { Complete } from "./complete"
import * as format from "./format"
import { Insight } from "./insight"
import { List, One } from "./list"
import { useLive } from "./live"
import { Map } from "./map"
import { A, Ago, CopyPath, focusContent, HereContext, Loading, Menu, Name, Shown, Size, titleOf, Trouble, useAsk, useHere, When } from "./parts"
import { parentOf, type Path } from "./paths"
import { parse, write as writeQuestion } from "./query"
import { fromCharacters, Help, Search, useSlash } from "./search"
import { State } from "./state"
import { TimeBar } from "./timebar"

interface Views { views: { view_id: string; state: string; members?: string[] }[] }

function App() {
  const [place, setPlace] = useState(() => read(new URL(location.href)))
  const [now, setNow] = useState(0)
  const current = useRef(place)
  current.current = place
  const go = (to: Partial<Place>, how?: "replace") => {
    const place = current.current, next = { ...place, ...to }
    if ((to.path !== undefined && to.path !== place.path || to.show !== undefined && to.show !== place.show) && to.q === undefined && next.show !== "search" && next.show !== "insight") Object.assign(next, { q: "", filters: {} })
    if (to.view !== undefined && to.view !== place.view) Object.assign(next, { asOf: "" })
    const url = write(next)
    if (how === "replace") history.replaceState(null, "", url)
    else if (url !== location.pathname + location.search) {
      history.pushState(null, "", url)
      window.scrollTo(0, 0)
    }
    current.current = next
    setPlace(next)
  }
  useEffect(() => {
    const back = () => {
      if ((document.activeElement as HTMLInputElement | null)?.type === "search") (document.activeElement as HTMLElement).blur()
      setPlace(read(new URL(location.href)))
    }
    addEventListener("popstate", back)
    return () => removeEventListener("popstate", back)
  }, [])
  useEffect(() => {
    document.title = `${place.show === "search" && place.q ? `“${place.q}”` : place.show === "admin" ? "Administration" : titleOf(place)} – Fustor`
  }, [place])
  const first = useRef(true)
  useEffect(() => { // who goes on by keyboard goes on at the content, and not at the top of the page
    if (!first.current) focusContent()
    first.current = false
  }, [place.view, place.path, place.show])
  const [forest, setForest] = useState(startsAsForest)
  const here = useMemo(() => ({ place, go, now, forest }), [place, now, forest])
  const live = useLive(place, forest, () => setNow(n => n + 1))
  return <HereContext.Provider value={here}><Frame live={live} setForest={setForest} /></HereContext.Provider>
}

/** The server says with the page whether the view is a forest. */
const startsAsForest = document.querySelector("script[data-forest]") !== null

/** It also says whether the path is a directory, whose list is then asked for at once, and not after its metadata. */
const startsAsDirectory = document.querySelector("script[data-directory]") !== null ? location.pathname : null

/** The directory that is shown, or one node for each member of a forest. */
type Found = Node & { version?: number; entries?: Node[]; members?: Member[] }

function Frame({ live, setForest }: { live: string; setForest: (is: boolean) => void }) {
  const { place, forest, go } = useHere()
  const views = useAsk<Views>("", {}, { view: "", live: false })
  const isAdmin = place.show === "admin"
  const known = views.data?.views.find(v => v.view_id === place.view)
  useEffect(() => known && setForest(known.state === "forest"), [known])
  const found = useAsk<Found>(place.show === "state" || isAdmin || forest ? null : "metadata", below(place.path, place.asOf))
  const [entered, setEntered] = useState(false)
  useSlash()
  const tabs: [Show, string][] = [["list", "List"], ["map", "Map"], ["insight", "Insight"], ["state", "State"]]
  if (administration !== null) tabs.push(["admin", "Administration"])
  const isDirectory = found.data?.type === "d"
  return <>
    <a class="skip" href="#content">Skip to the content</a>
    <header class="top">
      <a class="brand" href={base + "/"} title="All views"><svg viewBox="0 0 20 20" aria-hidden="true"><rect x="1" y="1" width="11" height="18" rx="2" /><rect x="13.5" y="1" width="5.5" height="8" rx="1.5" /><rect x="13.5" y="10.5" width="5.5" height="8.5" rx="1.5" /></svg>Fustor</a>
      {views.data && views.data.views.length > 1 ? <select class="view" aria-label="View" value={place.view} onChange={e => go({ view: e.currentTarget.value, path: "/", show: place.show === "state" || isAdmin ? place.show : place.show === "map" ? "map" : "list" })}>
        {views.data.views.map(v => <option value={v.view_id}>{v.view_id}</option>)}
        {!views.data.views.some(v => v.view_id === place.view) && <option value={place.view}>{place.view}</option>}
      </select> : <span class="view soft">{place.view}</span>}
      {place.view ? <SearchBox entered={setEntered} /> : <span class="space" />}
      <span class="live" hidden={isAdmin} data-state={live} title={live === "live" ? "Changes are shown as they arrive" : "This page is not told of changes at the moment"}><span class="dot" aria-hidden="true" />{live}</span>
      <Theme />
      <form action={base + "/logout"} method="post"><button class="plain" title="Forget the key or the login in this browser">Log out</button></form>
    </header>
    <div class="under">
      {place.view ? <Crumbs path={place.path} /> : <span class="space" />}
      <nav class="tabs" aria-label="Ways to look at it">{tabs.filter(([show]) => !(forest && show === "map") && (place.view || show === "admin")).map(([show, text]) =>
        <A to={{ show, ...show === "state" || show === "admin" ? { path: "/" } : {} }} aria-current={place.show === show ? "page" : undefined}>{text}</A>)}
        {place.show === "search" && <A to={{}} aria-current="page">Search</A>}</nav>
    </div>
    <main id="content" tabIndex={-1} onKeyDown={e => {
      if (e.target !== e.currentTarget || e.altKey || e.ctrlKey || e.metaKey) return
      const row = e.key === "ArrowDown" ? e.currentTarget.querySelector<HTMLElement>("[data-row]") : null
      if (row) {
        e.preventDefault()
        row.focus()
      } else if (e.key === "Backspace" && place.path !== "/") {
        e.preventDefault()
        go({ path: parentOf(place.path) })
      }
    }}>
      <h1 class="unseen">{place.show === "search" ? "Search" : isAdmin ? "Administration" : place.show === "state" ? `State of ${place.view}` : titleOf(place)}</h1>
      {place.show !== "state" && !isAdmin && !forest && <>
        <Facts of={found.data} path={place.path} />
      </>}
      {isAdmin ? <Admin /> : place.show === "state" ? <State forest={forest} /> :
        place.show === "search" ? <Search entered={entered} /> :
          forest ? place.show === "insight" ? <Insight /> : <Forest /> :
            found.problem && !found.data ? <Trouble problem={found.problem} /> :
              !found.data ? place.show === "list" && location.pathname === startsAsDirectory ? <List /> : <Loading /> :
                !isDirectory ? <One of={found.data} path={place.path} /> :
                  place.show === "map" ? <Map of={found.data} /> : place.show === "insight" ? <Insight of={found.data} /> : <List of={found.data} />}
    </main>
    {place.view && !isAdmin && <Footer />}
  </>
}

function SearchBox({ entered }: { entered: (is: boolean) => void }) {
  const { place, go } = useHere()
  const asks = place.show === "search" || place.show === "insight"
  const current = asks ? writeQuestion({ pattern: place.q, filters: place.filters }) : ""
  const [text, setText] = useState(current)
  const [wrong, setWrong] = useState("")
  const mine = useRef(current)
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => { // a chip, a link or the way back changed it; while one types, what is typed is ahead of the address
    if (mine.current !== current && document.activeElement !== input.current) {
      mine.current = current
      setText(current)
      setWrong("")
    }
  }, [current])
  const typed = (value: string, done: boolean) => {
    setText(value)
    const q = parse(value)
    setWrong(done || /\s$/.test(value) ? q.wrong : "")
    entered(done)
    if (q.wrong && !done) return
    if (!done && place.show !== "search" && place.show !== "insight" && [...q.pattern].length < fromCharacters) return
    mine.current = writeQuestion({ pattern: q.pattern, filters: q.filters })
    go({ show: place.show === "insight" ? "insight" : "search", q: q.pattern, filters: q.filters }, place.show === "search" || place.show === "insight" ? "replace" : undefined)
  }
  return <form class="search" role="search" onSubmit={e => {
    e.preventDefault()
    typed(text, true)
  }}>
    <svg class="glass" viewBox="0 0 16 16" aria-hidden="true"><circle cx="7" cy="7" r="4.5" fill="none" stroke="currentColor" stroke-width="1.5" /><path d="m10.5 10.5 4 4" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" /></svg>
    <input type="search" ref={input} value={text} maxLength={1024} spellcheck={false} autocomplete="off" autocapitalize="off" aria-label={place.show === "insight" ? "Only what matches" : "Search below this directory"} aria-describedby="search-wrong"
      placeholder={place.show === "insight" ? "Only what matches, such as *.bam --older-than 1y" : "Search: part of a name, *.glob, --flags"} onInput={e => typed(e.currentTarget.value, false)}
      onKeyDown={e => {
        if (e.key === "ArrowDown") {
          const first = document.querySelector<HTMLElement>("main [data-row]")
          if (first) {
            e.preventDefault()
            first.focus()
          }
        } else if (e.key === "Escape" && place.show === "search") {
          e.preventDefault()
          setText("")
          mine.current = ""
          go({ show: "list", q: "", filters: {} })
        }
      }} />
    <kbd aria-hidden="true">/</kbd>
    <Menu label="?" title="What can be asked" class="right help-menu"><Help /></Menu>
    <span id="search-wrong" class="wrong" role="status">{wrong}</span>
  </form>
}

function Crumbs({ path }: { path: Path }) {
  const { place } = useHere()
  const names = path.split("/").filter(n => n !== "")
  const show = place.show === "search" || place.show === "state" || place.show === "admin" ? "list" : place.show
  return <nav class="crumbs" aria-label="Path"><ol>
    <li><A to={{ path: "/", show }} aria-current={names.length === 0 ? "true" : undefined}>{place.view}</A></li>
    {names.map((name, i) => {
      const to = "/" + names.slice(0, i + 1).join("/")
      return <li><A to={{ path: to, show }} aria-current={i === names.length - 1 ? "true" : undefined}><Name of={name} /></A></li>
    })}
  </ol>{path !== "/" && <CopyPath of={path} />}</nav>
}

function Facts({ of: n, path }: { of: Found | undefined; path: Path }) {
  const { place } = useHere()
  const t = n?.subtree
  return <div class="facts-bar">
    {t && <dl class="facts">
      <div><dt>Size</dt><dd><Size of={t.bytes} /></dd></div>
      {t.unmeasured === 0 && <div><dt>On disk</dt><dd><Size of={t.allocated} /></dd></div>}
      <div><dt>Files</dt><dd>{format.count(t.files)}</dd></div>
      <div><dt>Directories</dt><dd>{format.count(Math.max(0, t.directories - 1))}</dd></div>
      <div class="optional"><dt>Newest file</dt><dd>{t.latest_mtime === null ? "–" : <A to={{ show: "insight", report: "newest", q: "", filters: {} }} title="The newest files below this directory"><When at={t.latest_mtime} /></A>}</dd></div>
      {n.unreadable ? <div><dt>Unreadable</dt><dd class="warn" title="The last scans could not read these paths, so what is shown lacks something">{format.plural(n.unreadable, "path", "paths")}</dd></div> : null}
    </dl>}
    {t && !place.asOf && <Complete key={path} path={path} />}
    <TimeBar of={n} />
  </div>
}

interface Trouble { kind: string; since: number; text: string }

function Footer() {
  const { place, forest } = useHere()
  const stats = useAsk<{ version: number; folded_at: number; observed_at: number; scan_error_count: number; has_leader: boolean; troubles?: Trouble[] }>(forest ? null : "stats", { as_of: place.asOf })
  const s = stats.data
  return <footer class="foot">{s && <>
    Version {format.count(s.version)}, published <Ago at={s.folded_at} /> · last observed <Ago at={s.observed_at} />
    {!place.asOf && !s.has_leader && <> · <A to={{ show: "state", path: "/" }} class="warn">no agent leads: nothing new is scanned</A></>}
    {s.troubles?.map(t => <> · <span class="warn" title={"Since " + new Date(t.since * 1000).toLocaleString()}>{t.text}</span></>)}
    {s.scan_error_count > 0 && <> · <A to={{ show: "state", path: "/" }} class="warn">{format.plural(s.scan_error_count, "directory", "directories")} could not be read</A></>} · </>}
    times in {Intl.DateTimeFormat().resolvedOptions().timeZone || "your zone"} · <a href={base + "/openapi.json"}>API</a></footer>
}

/** Forest shows a path in all members. */
function Forest() {
  const { place } = useHere()
  const answer = useAsk<{ members: (Member & { stats?: { total_files: number; total_size: number; latest_mtime: number | null; observed_at: number } })[] }>("stats", below(place.path, place.asOf))
  return <Shown answer={answer}>{data => <table class="entries">
    <thead><tr><th>Member</th><th class="number">Size</th><th class="number">Files</th><th class="when optional">Newest file</th><th class="when">Last observed</th></tr></thead>
    <tbody>{data.members.map(m => <tr><td class="name">{m.status === "absent" ? m.view : <A to={{ view: m.view }} data-row="">{m.view}</A>}{m.status !== "ok" && <span class="trouble">{m.status === "absent" ? "no such path" : m.error ?? m.status}</span>}</td>
      <td class="number"><Size of={m.stats?.total_size} /></td><td class="number">{m.stats && format.count(m.stats.total_files)}</td>
      <td class="when optional"><When at={m.stats?.latest_mtime} /></td><td class="when"><Ago at={m.stats?.observed_at} /></td></tr>)}</tbody>
  </table>}</Shown>
}

/** Theme turns between what the system says, light and dark. */
function Theme() {
  const [theme, set] = useState(themeNow())
  const next = { "": "light", light: "dark", dark: "" }[theme] ?? ""
  return <button type="button" class="plain theme" title="Light, dark, or as the system has it" aria-label={`Colours: ${theme || "as the system has them"}`} onClick={() => {
    set(next)
    localStorage.setItem("fustor-theme", next)
    useTheme(next)
  }}>{theme === "light" ? "☀" : theme === "dark" ? "☾" : "◐"}</button>
}

const themeNow = () => {
  try {
    return localStorage.getItem("fustor-theme") ?? ""
  } catch {
    return ""
  }
}
const useTheme = (theme: string) => theme ? document.documentElement.dataset.theme = theme : delete document.documentElement.dataset.theme

useTheme(themeNow())
const root = document.createElement("div")
root.id = "app"
document.body.replaceChildren(root)
document.body.classList.add("app")
render(<App />, root)
