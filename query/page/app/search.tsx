// Search as you type: the box in the frame writes the question into the address, and this shows what it finds.
import { h, Fragment } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { ask, below, pathOf, type Node, type Params } from "./api"
import { Export } from "./export"
import * as format from "./format"
import { moveRow } from "./list"
import { A, Empty, Icon, Loading, Marks, Name, Size, Trouble, useHere, When } from "./parts"
import { End, usePages } from "./pages"
import { nameOf, ofFields, parentOf } from "./paths"
import { flags, flagsOf, isEmpty, needle, quote, type Filters } from "./query"

/** From so many characters on a pattern is searched for while it is being typed; Enter searches for shorter ones. */
export const fromCharacters = 3

/** The pause after a keystroke before the server is asked. */
const pause = 120

export function Search({ entered }: { entered: boolean }) {
  const { place, forest } = useHere()
  const { q, filters } = place
  const enough = [...q].length >= fromCharacters || entered || /[*?[]/.test(q) || q === "" && !isEmpty(filters)
  const params: Params = { ...below(place.path, place.asOf), pattern: q || "*", ...filters }
  const pages = usePages<Node>(enough && (q !== "" || !isEmpty(filters)) ? "search" : null, { ...params, limit: 100 }, { delay: pause, live: false })
  const table = useRef<HTMLTableElement>(null)
  const missing = pages.first?.members?.filter(m => m.status !== "ok" && m.status !== "absent") ?? []
  const mark = needle(q)
  return <section aria-label="Search results">
    <div class="tools"><Chips filters={filters} /><span class="space" />
      {pages.rows && <Export call="search" params={params} command={`fustor search ${quote(q || "*")}`} path={place.path} extra={flagsOf(filters).join(" ")} pathFlag />}</div>
    {!enough ? <Empty>{q === "" ? "Type a part of a name, or choose a filter." : `Type ${fromCharacters} characters, or press Enter to search for “${q}”.`}</Empty> :
      pages.problem && !pages.rows ? <Trouble problem={pages.problem} /> : !pages.rows ? q === "" && isEmpty(filters) ? <Empty>Type a part of a name, or choose a filter.</Empty> : <Loading /> : <>
        <p class="soft counted" role="status">{pages.rows.length === 0 ? "No name matches." : `${pages.more || pages.rows.length > (pages.first?.entries.length ?? 0) ? "The first " : ""}${format.plural(pages.rows.length, "match", "matches")}`}
          {place.path !== "/" && <> below <b><Name of={place.path} /></b> · <A to={{ path: "/" }}>search everywhere</A></>}
          <span class="took"> · {pages.milliseconds.toFixed(0)} ms</span></p>
        {missing.length > 0 && <p class="warn" role="alert">Not complete: {missing.map(m => `${m.view}: ${m.error ?? m.status}`).join("; ")}</p>}
        {pages.rows.length > 0 && <table class={"entries results" + (pages.loading ? " stale" : "")} ref={table} onKeyDown={e => {
          if (e.key === "ArrowUp" && document.activeElement === table.current!.querySelector("[data-row]")) {
            e.preventDefault()
            document.querySelector<HTMLInputElement>("input[type=search]")?.focus()
          } else moveRow(e, table.current!, () => undefined)
        }}>
          <thead><tr>{forest && <th>Member</th>}<th>Name</th><th class="number">Size</th><th class="when">Modified</th><th class="optional">Owner</th></tr></thead>
          <tbody>{pages.rows.map(n => <Hit key={(n.member ?? "") + (n.path_b64 ?? n.path)} of={n} mark={mark} forest={forest} />)}</tbody>
        </table>}
        <End of={pages} what="matches" />
      </>}
  </section>
}

function Hit({ of: n, mark, forest }: { of: Node; mark: string; forest: boolean }) {
  const path = pathOf(n), at = n.member ? { view: n.member } : {}
  return <tr>
    {forest && <td class="owner">{n.member}</td>}
    <td class="name"><Icon type={n.type} /><A to={{ ...at, path, show: "list" }} data-row=""><Name of={nameOf(path)} mark={mark} /></A><Marks of={n} />
      <A class="where" to={{ ...at, path: parentOf(path), show: "list" }}><Name of={parentOf(path)} mark={mark} /></A></td>
    <td class="number"><Size of={n.type === "d" ? n.subtree?.bytes : n.type === "f" ? n.size : null} /></td>
    <td class="when">{!n.attributes_hidden && <When at={n.modified_time} />}</td>
    <td class="owner optional"><Name of={ofFields(n.owner ?? "")} /></td>
  </tr>
}

const choices: { name: string; label: string; of: [string, Filters][] }[] = [
  { name: "type", label: "Type", of: [["files", { type: ["f"] }], ["directories", { type: ["d"] }], ["symlinks", { type: ["l"] }], ["special files", { type: ["o"] }]] },
  { name: "size", label: "Size", of: [["≥ 1 MiB", { min_size: ["1M"] }], ["≥ 100 MiB", { min_size: ["100M"] }], ["≥ 1 GiB", { min_size: ["1G"] }], ["≥ 10 GiB", { min_size: ["10G"] }], ["≤ 1 KiB", { max_size: ["1K"] }], ["empty", { empty: ["true"] }]] },
  { name: "time", label: "Modified", of: [["in the last hour", { newer_than: ["1h"] }], ["in the last day", { newer_than: ["1d"] }], ["in the last week", { newer_than: ["7d"] }], ["in the last month", { newer_than: ["30d"] }], ["over a year ago", { older_than: ["1y"] }], ["over 3 years ago", { older_than: ["3y"] }]] },
]
const families: Record<string, string[]> = { type: ["type"], size: ["min_size", "max_size", "empty"], time: ["newer_than", "older_than"] }

/** Chips are the filters: the usual ones to choose, and whatever else was typed to take away. */
export function Chips({ filters }: { filters: Filters }) {
  const { go } = useHere()
  const without = (names: string[]) => Object.fromEntries(Object.entries(filters).filter(([name]) => !names.includes(name)))
  const extension = filters.name?.length === 1 ? /^\*\.([\w+~-]{1,16})$/.exec(filters.name[0]!)?.[1] ?? "" : ""
  const shown = new Set(["type", "min_size", "max_size", "empty", "newer_than", "older_than", "owner", ...extension || !filters.name ? ["name"] : []])
  return <div class="chips" role="group" aria-label="Filters">
    {choices.map(c => {
      const mine = Object.fromEntries(Object.entries(filters).filter(([name]) => families[c.name]!.includes(name)))
      const at = c.of.findIndex(([, f]) => JSON.stringify(f) === JSON.stringify(mine))
      const custom = at < 0 && !isEmpty(mine) ? flagsOf(mine).join(" ") : ""
      return <label class={"chip" + (isEmpty(mine) ? "" : " on")}>{c.label} <select value={custom ? "custom" : String(at)} onChange={e => {
        const n = Number(e.currentTarget.value)
        go({ filters: { ...without(families[c.name]!), ...n >= 0 ? c.of[n]![1] : {} } }, "replace")
      }}><option value="-1">any</option>{c.of.map(([text], n) => <option value={String(n)}>{text}</option>)}{custom && <option value="custom">{custom}</option>}</select></label>
    })}
    <Typed label="Owner" value={filters.owner?.[0] ?? ""} list="owners" set={v => go({ filters: { ...without(["owner"]), ...v ? { owner: [v] } : {} } }, "replace")} />
    <Typed label="Extension" value={extension} set={v => go({ filters: { ...without(["name"]), ...v ? { name: ["*." + v.replace(/^\*?\./, "")] } : {} } }, "replace")} />
    {Object.entries(filters).filter(([name]) => !shown.has(name)).map(([name, values]) =>
      <button type="button" class="chip on" title="Take this filter away" onClick={() => go({ filters: without([name]) }, "replace")}>{flagsOf({ [name]: values }).join(" ") || `--${name} ${values.join(" ")}`} <span aria-hidden="true">×</span></button>)}
    {!isEmpty(filters) && <button type="button" class="plain" onClick={() => go({ filters: {} }, "replace")}>Clear</button>}
  </div>
}

/** Typed is a chip that is written into; owners come from the view. */
function Typed({ label, value, list, set }: { label: string; value: string; list?: string; set: (to: string) => void }) {
  const { place } = useHere()
  const [known, setKnown] = useState<string[]>([])
  const asked = useRef("")
  const learn = () => {
    if (!list || asked.current === place.view) return
    asked.current = place.view
    ask<{ entries: { owner: string }[] }>(place.view, "reports/usage", { by: "owner", limit: 200 }).then(a => setKnown(a.entries.map(e => e.owner)), () => undefined)
  }
  return <label class={"chip" + (value ? " on" : "")}>{label} <input value={value} placeholder="any" size={Math.max(4, value.length)} list={list} spellcheck={false} autocapitalize="off" onFocus={learn}
    onChange={e => set(e.currentTarget.value.trim())} />{list && <datalist id={list}>{known.map(k => <option value={k} />)}</datalist>}</label>
}

/** Help is the query language. */
export function Help() {
  return <div class="help">
    <p><b>A part of a name</b> finds it in any case; with a slash it is a part of a path. <code>*.tif</code>, <code>run_?[0-9]</code> and <code>{"{bam,cram}"}</code> are globs; <code>/lab/**/*.tif</code> is one of whole paths.</p>
    <p>Behind it come the flags of <code>fustor search</code>:</p>
    <dl>{flags.map(f => <Fragment key={f.name}><dt><code>--{f.name}{f.value && " " + f.value}</code></dt><dd>{f.means}</dd></Fragment>)}</dl>
  </div>
}

/** useSlash puts the cursor into the search box when / is pressed. */
export function useSlash() {
  useEffect(() => {
    const on = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return
      e.preventDefault()
      const box = document.querySelector<HTMLInputElement>("input[type=search]")
      box?.focus()
      box?.select()
    }
    document.addEventListener("keydown", on)
    return () => document.removeEventListener("keydown", on)
  }, [])
}

