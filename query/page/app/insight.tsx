// Reports about everything below a directory, as a table and as a plot, each with the filter that made it.
import { h, Fragment, type ComponentChildren } from "preact"
import { useEffect, useMemo, useState } from "preact/hooks"
import { ask, below, pathOf, type Node, type Params, type Problem, type Totals } from "./api"
import { Export } from "./export"
import * as format from "./format"
import { Bar } from "./list"
import { Since } from "./map"
import { A, Choice, Empty, Icon, Loading, Marks, Name, Shown, Size, Trouble, troubleOf, useAsk, useHere, When } from "./parts"
import { End, usePages } from "./pages"
import { nameOf, ofText, parentOf } from "./paths"
import { flagsOf, quote } from "./query"
import { Chips } from "./search"
import { Trend } from "./trend"

const reports: [string, string, (of: Node | undefined) => h.JSX.Element][] = [
  ["owners", "Owners", () => <Usage by="owner" />], ["groups", "Groups", () => <Usage by="group" />], ["extensions", "Extensions", () => <Usage by="extension" />],
  ["age-size", "Age × size", () => <AgeAndSize />],
  ["largest", "Largest files", () => <Largest type="file" />], ["largest-directories", "Largest directories", () => <Largest type="directory" />],
  ["newest", "Newest files", of => <Newest of={of} />],
  ["growth", "What grew", () => <Growth />], ["changes", "What changed", () => <Changes />], ["trend", "Trend", () => <Trend />],
  ["duplicates", "Duplicates", () => <Duplicates />], ["empty", "Empty directories", () => <Rows call="reports/empty-directories" command="fustor report empty" none="There is no empty directory here." />],
  ["odd", "Odd names and times", () => <Rows call="reports/odd" command="fustor report odd" none="Nothing odd here: no name or time that other programs would stumble over." />],
]

/** unfiltered reports take no filter. */
const unfiltered = new Set(["trend", "newest"])

/** Insight shows a report about a directory; of a forest there is no node. */
export function Insight({ of }: { of?: Node | undefined }) {
  const { place, go } = useHere()
  const [key, title, make] = reports.find(([name]) => name === place.report) ?? reports[0]!
  return <div class="insight">
    <nav class="side" aria-label="Reports">{reports.map(([name, text]) => <A to={{ report: name }} aria-current={name === key ? "page" : undefined}>{text}</A>)}</nav>
    <section aria-label={title}>
      <h2>{title} <span class="soft">below {place.path === "/" ? place.view : <Name of={place.path} />}</span></h2>
      {!unfiltered.has(key) && <Chips filters={place.filters} />}
      {!unfiltered.has(key) && place.q !== "" && <p class="soft">Only what matches <b>{place.q}</b> · <button type="button" class="plain" onClick={() => go({ q: "" }, "replace")}>all</button></p>}
      {make(of)}
    </section>
  </div>
}

/** useReport are the parameters that every report takes, and the same as flags of the command. */
function useReport(): { params: Params; flags: string } {
  const { place } = useHere()
  return {
    params: { ...below(place.path, place.asOf), pattern: place.q || undefined, ...place.filters },
    flags: [place.q && `--pattern ${quote(place.q)}`, ...flagsOf(place.filters)].filter(s => s).join(" "),
  }
}

interface Bucket { from: number | null; to: number | null; files: number; bytes: number }
interface Share { uid?: number; owner?: string; gid?: number; group?: string; extension?: string; totals: Totals; across?: Bucket[] }

function Usage({ by }: { by: "owner" | "group" | "extension" }) {
  const { params } = useReport()
  const [across, setAcross] = useState<"mtime" | "atime" | "size" | "">("mtime")
  const answer = useAsk<{ entries: Share[]; more?: number; as_of?: number }>("reports/usage", { ...params, by, across: across || undefined, limit: 100 })
  return <>
    <div class="tools"><Choice label="Across" at={across} set={setAcross} of={[["mtime", "Age"], ["atime", "Last read"], ["size", "Size"], ["", "None"]]} /><span class="space" /><ExportReport call="reports/usage" extra={`--by ${by}`} command="fustor report usage" table={answer.data?.entries.map(e => [nameIn(e), String(e.totals.files), String(e.totals.bytes), String(e.totals.allocated)])} head={[by, "files", "bytes", "allocated"]} /></div>
    <Shown answer={answer}>{data => {
      if (data.entries.length === 0) return <Empty>Nothing matches here.</Empty>
      const whole = data.entries.reduce((sum, e) => sum + e.totals.bytes, 0)
      return <>
        {across && data.entries.some(e => e.across?.length) && <Heat rows={data.entries.slice(0, 16)} of={across} />}
        <table class="entries"><thead><tr><th>{by}</th><th class="number">Size</th><th class="share">Share</th><th class="number optional">On disk</th><th class="number">Files</th><th class="when optional">Newest file</th></tr></thead>
          <tbody>{data.entries.map(e => <tr><td class="name"><Narrow by={by} of={e} /></td><td class="number"><Size of={e.totals.bytes} /></td><td class="share" title={format.percent(whole ? e.totals.bytes / whole : 0)}><Bar share={e.totals.bytes / (data.entries[0]!.totals.bytes || 1)} /></td>
            <td class="number optional"><Size of={e.totals.allocated} /></td><td class="number">{format.count(e.totals.files)}</td><td class="when optional"><When at={e.totals.latest_mtime} /></td></tr>)}</tbody></table>
        {data.more ? <p class="soft">and {format.count(data.more)} more with fewer bytes</p> : null}
      </>
    }}</Shown>
  </>
}

const nameIn = (e: Share) => e.owner ?? e.group ?? (e.extension ? "." + e.extension : "no extension")

/** Narrow leads from a share to the files that it is made of. */
function Narrow({ by, of: e }: { by: "owner" | "group" | "extension"; of: Share }) {
  const { place } = useHere()
  if (by === "extension" && !e.extension) return <>no extension</>
  const filters = by === "extension" ? { name: ["*." + e.extension] } : { [by]: [e.owner ?? e.group ?? ""] }
  return <A to={{ report: "largest", filters: { ...place.filters, ...filters } }} title="Its largest files"><Name of={ofText(nameIn(e))} /></A>
}

const none: Bucket = { from: 0, to: 0, files: 0, bytes: 0 }
const bucketKey = (b: Bucket) => `${b.from}-${b.to}`

/** Heat is a table whose cells are the darker the more bytes they stand for. */
function Heat({ rows, of }: { rows: Share[]; of: string }) {
  const columns = useMemo(() => {
    const seen = new globalThis.Map<string, Bucket>()
    rows.forEach(r => r.across?.forEach(b => seen.set(bucketKey(b), b)))
    return [...seen.values()].sort((a, b) => (a.from ?? -Infinity) - (b.from ?? -Infinity))
  }, [rows])
  const most = Math.max(1, ...rows.flatMap(r => r.across?.map(b => b.bytes) ?? []))
  return <div class="scroll" tabIndex={0} role="region" aria-label="Bytes by the two together"><table class="heat"><thead><tr><th><span class="unseen">Of</span></th>{columns.map(c => <th>{format.between(of, c.from, c.to)}</th>)}</tr></thead>
    <tbody>{rows.map(r => <tr><th scope="row"><Name of={ofText(nameIn(r))} /></th>{columns.map(c => <Cell of={r.across?.find(b => bucketKey(b) === bucketKey(c)) ?? none} most={most} />)}</tr>)}</tbody></table></div>
}

function Cell({ of: b, most }: { of: { files: number; bytes: number }; most: number }) {
  const level = b.bytes === 0 ? (b.files > 0 ? 1 : 0) : Math.max(1, Math.min(9, Math.ceil(9 * Math.log2(1 + b.bytes) / Math.log2(1 + most) * 1.6 - 5.4)))
  return <td class={"h" + level} title={`${format.count(b.bytes)} bytes in ${format.plural(b.files, "file", "files")}`}>{b.files > 0 ? format.size(b.bytes) : ""}</td>
}

const sizes: [string, string, string][] = [["empty", "0", "0"], ["< 4 KiB", "1", "4095"], ["< 64 KiB", "4K", "65535"], ["< 1 MiB", "64K", "1048575"], ["< 16 MiB", "1M", "16777215"], ["< 256 MiB", "16M", "268435455"], ["< 1 GiB", "256M", "1073741823"], ["≥ 1 GiB", "1G", ""]]

/** AgeAndSize asks one histogram of ages for each range of sizes. */
function AgeAndSize() {
  const { place, now } = useHere()
  const { params } = useReport()
  const [of, setOf] = useState<"mtime" | "atime">("mtime")
  const [rows, setRows] = useState<Bucket[][]>()
  const [problem, setProblem] = useState<Problem>()
  const key = JSON.stringify([place.view, params, of])
  useEffect(() => {
    const abort = new AbortController()
    setProblem(undefined)
    Promise.all(sizes.map(([, from, to]) => ask<{ entries: Bucket[] }>(place.view, "reports/histogram", { ...params, of, min_size: from, max_size: to }, abort.signal)))
      .then(all => setRows(all.map(a => a.entries)), (e: unknown) => !abort.signal.aborted && setProblem(troubleOf(e)))
    return () => abort.abort()
  }, [key, now])
  const columns = rows?.[0]?.map((_, i) => i).filter(i => rows.some(r => r[i]!.files > 0)) ?? []
  const most = Math.max(1, ...rows?.flat().map(b => b.bytes) ?? [])
  const sum = (buckets: Bucket[]) => buckets.reduce((s, b) => ({ files: s.files + b.files, bytes: s.bytes + b.bytes }), { files: 0, bytes: 0 })
  const { min_size: _low, max_size: _high, ...unsized } = place.filters
  const sized = _low || _high
  return <>
    <div class="tools"><Choice label="Age" at={of} set={setOf} of={[["mtime", "Modified"], ["atime", "Last read"]]} /><span class="space" />
      <ExportReport call="reports/histogram" command="fustor report histogram" extra={`--of ${of}`} head={["size", "age", "files", "bytes"]} table={rows?.flatMap((r, i) => r.map(b => [sizes[i]![0], format.between(of, b.from, b.to), String(b.files), String(b.bytes)]))} /></div>
    {sized && <p class="soft">The rows of this table are the sizes, so the filter on the size is left out.</p>}
    {problem ? <Trouble problem={problem} /> : !rows ? <Loading /> : columns.length === 0 ? <Empty>Nothing matches here.</Empty> :
      <div class="scroll" tabIndex={0} role="region" aria-label="Files by age and size"><table class="heat wide"><thead><tr><th>Size</th>{columns.map(i => <th>{format.between(of, rows[0]![i]!.from, rows[0]![i]!.to)}</th>)}<th>all</th></tr></thead>
        <tbody>{sizes.map(([text, from, to], r) => { const all = sum(rows[r]!); return <tr><th scope="row"><A to={{ report: "largest", filters: { ...unsized, min_size: [from], ...to ? { max_size: [to] } : {} } }}>{text}</A></th>
          {columns.map(i => <Cell of={rows[r]![i]!} most={most} />)}<td class="sum" title={`${format.count(all.bytes)} bytes in ${format.plural(all.files, "file", "files")}`}>{format.size(all.bytes)}</td></tr> })}</tbody>
        <tfoot><tr><th scope="row">all</th>{columns.map(i => { const all = sum(rows.map(r => r[i]!)); return <td class="sum" title={format.plural(all.files, "file", "files")}>{format.size(all.bytes)}</td> })}<td class="sum">{format.size(sum(rows.flat()).bytes)}</td></tr></tfoot></table></div>}
  </>
}

function Largest({ type }: { type: "file" | "directory" }) {
  const { params, flags } = useReport()
  const answer = useAsk<{ entries: Node[] }>("reports/largest", { ...params, type, limit: 200 })
  return <>
    <div class="tools"><span class="space" /><Export call="reports/largest" params={{ ...params, type, limit: 200 }} command="fustor report largest" path={useHere().place.path} extra={[type === "directory" ? "--type d" : "", flags].filter(s => s).join(" ")} /></div>
    <Shown answer={answer}>{data => data.entries.length === 0 ? <Empty>Nothing matches here.</Empty> : <Found rows={data.entries} />}</Shown>
  </>
}

interface Newer { entries: Node[]; next_cursor?: string }

/** spans before the newest file are searched one after the other until there is enough to show, in seconds. */
const spans = [60, 86400, 30 * 86400, Infinity]
const enough = 50

/** Newest are the newest files: the search has no order but that of paths, so the page looks back from the newest, whose time the directory
 * has, until it has enough of them, and sorts what came. A forest has no such time; there, and on request, it is what is newer than an age. */
function Newest({ of }: { of: Node | undefined }) {
  const { place, now, forest } = useHere()
  const [within, set] = useState<string>(forest ? "1d" : "")
  const [answer, setAnswer] = useState<{ data?: Newer; problem?: Problem; key: string }>({ key: "" })
  const latest = of?.subtree?.latest_mtime
  const key = JSON.stringify([place.view, place.path, place.asOf, within, latest])
  useEffect(() => {
    if (within === "" && latest === undefined) return
    const abort = new AbortController()
    const search = (newer_than: string) => ask<Newer>(place.view, "search", { ...below(place.path, place.asOf), pattern: "*", type: "f", newer_than, limit: 2000 }, abort.signal)
    const look = async (): Promise<Newer> => {
      if (within !== "") return search(within)
      let found: Newer = { entries: [] }
      if (latest === null) return found
      for (const span of spans) {
        const next = await search(span === Infinity ? "" : "@" + (Math.floor(latest!) - span))
        if (next.next_cursor && found.entries.length > 0) break // the span before is complete
        found = next
        if (next.next_cursor || found.entries.length >= enough) break
      }
      return found
    }
    look().then(data => setAnswer({ data, key }), (e: unknown) => abort.signal.aborted || setAnswer({ problem: troubleOf(e), key }))
    return () => abort.abort()
  }, [key, now])
  return <>
    <div class="tools"><Choice label="Within" at={within} set={set} of={[...forest ? [] : [["", "any time"] as const], ["1h", "an hour"], ["1d", "a day"], ["7d", "a week"], ["30d", "a month"]]} /></div>
    <Shown answer={{ ...answer.key === key ? answer : {}, loading: answer.key !== key, again: () => undefined }}>{data => data.entries.length === 0 ? <Empty>{within === "" ? "There is no file." : "No file is that new."}</Empty> : <>
      {data.next_cursor && <p class="warn">More than 2,000 files are that new; these are the newest of the first 2,000. Choose {within === "" ? "" : "a shorter time or "}a directory further down.</p>}
      <Found rows={[...data.entries].sort((a, b) => b.modified_time - a.modified_time).slice(0, 200)} /></>}</Shown>
  </>
}

/** Found is a table of entries from anywhere below. */
function Found({ rows }: { rows: Node[] }) {
  const weights = rows.map(n => n.subtree?.bytes ?? n.size)
  const most = Math.max(1, ...weights)
  return <table class="entries"><thead><tr><th>Name</th><th class="number">Size</th><th class="share optional">Compared</th><th class="when">Modified</th><th class="optional">Owner</th></tr></thead>
    <tbody>{rows.map((n, i) => { const path = pathOf(n), at = n.member ? { view: n.member } : {}; return <tr>
      <td class="name"><Icon type={n.type} /><A to={{ ...at, path, show: "list" }} data-row=""><Name of={nameOf(path)} /></A><Marks of={n} /><A class="where" to={{ ...at, path: parentOf(path), show: "list" }}>{n.member ? n.member + ": " : ""}<Name of={parentOf(path)} /></A></td>
      <td class="number"><Size of={weights[i]} /></td><td class="share optional"><Bar share={weights[i]! / most} /></td><td class="when"><When at={n.modified_time} /></td><td class="owner optional"><Name of={ofText(n.owner ?? "")} /></td></tr> })}</tbody></table>
}

/** Rows are a report that comes in pages. */
function Rows({ call, command, none }: { call: string; command: string; none: string }) {
  const { params, flags } = useReport()
  const pages = usePages<Node>(call, { ...params, limit: 200 })
  return <>
    <div class="tools"><span class="space" /><Export call={call} params={params} command={command} path={useHere().place.path} extra={flags} /></div>
    {pages.problem && !pages.rows ? <Trouble problem={pages.problem} /> : !pages.rows ? <Loading /> : pages.rows.length === 0 ? <Empty>{none}</Empty> : <Found rows={pages.rows} />}
    <End of={pages} what="entries" />
  </>
}

function Duplicates() {
  const { params } = useReport()
  const answer = useAsk<{ entries: { size: number; count: number; wasted: number; paths: { path: string; path_b64?: string; member?: string }[] }[]; more?: number }>("reports/duplicates", { min_size: "1M", ...params, limit: 100 })
  return <>
    <div class="tools"><span class="space" /><ExportReport call="reports/duplicates" command="fustor report duplicates" head={["size", "count", "wasted", "first path"]} table={answer.data?.entries.map(e => [String(e.size), String(e.count), String(e.wasted), e.paths[0]?.path ?? ""])} /></div>
    <p class="soft">Files of one name and size, the ones that waste the most first. Only a comparison of their content shows whether they are equal.</p>
    <Shown answer={answer}>{data => data.entries.length === 0 ? <Empty>No two files of a MiB or more have the same name and size.</Empty> : <table class="entries"><thead><tr><th>Files</th><th class="number">Each</th><th class="number">Times</th><th class="number">Wasted</th></tr></thead>
      <tbody>{data.entries.map(e => <tr><td class="name">{e.paths.map(p => <A class="line" to={{ ...p.member ? { view: p.member } : {}, path: pathOf(p), show: "list" }}><Name of={pathOf(p)} /></A>)}{e.count > e.paths.length && <span class="soft">and {format.count(e.count - e.paths.length)} more</span>}</td>
        <td class="number"><Size of={e.size} /></td><td class="number">{format.count(e.count)}</td><td class="number"><Size of={e.wasted} /></td></tr>)}</tbody></table>}</Shown>
  </>
}

interface Grown { path: string; path_b64?: string; bytes: number; files: number; directories: number; from: { bytes: number }; to: { bytes: number } }

function Growth() {
  const { place } = useHere()
  const { params, flags } = useReport()
  const since = place.since || "0"
  const answer = useAsk<{ entries: Grown[]; since: number; since_version: number; until: number; more?: number }>("reports/growth", { ...params, since, depth: 1, limit: 200 })
  return <>
    <div class="tools"><Since /><span class="space" /><ExportReport call="reports/growth" command="fustor report growth" extra={[`--since ${quote(since)}`, flags].filter(s => s).join(" ")} head={["path", "bytes", "files", "from", "to"]} table={answer.data?.entries.map(e => [e.path, String(e.bytes), String(e.files), String(e.from.bytes), String(e.to.bytes)])} /></div>
    <Shown answer={answer}>{data => <>
      <p class="soft">From version {format.count(data.since_version)} of <When at={data.since} /> to <When at={data.until} />. Follow a directory to see what in it grew.</p>
      {data.entries.length === 0 ? <Empty>No directory here is larger or smaller than it was.</Empty> : <Signed head={["Directory", "Change", "Files", "Now"]} rows={data.entries.map(e => ({
        key: e.path_b64 ?? e.path, bytes: e.bytes, name: pathOf(e) === place.path ? <b>all of it</b> : <A to={{ path: pathOf(e) }} data-row=""><Name of={nameOf(pathOf(e))} /></A>, cells: [format.signed(e.files), format.size(e.to.bytes)] }))} />}
    </>}</Shown>
  </>
}

interface Sums { files: number; directories: number; others: number; bytes: number; moved?: number }

const differs = (s: Sums) => s.files + s.directories + s.others > 0

/** Changes is what differs between a version and another one: the sums for each directory. */
function Changes() {
  const { place } = useHere()
  const since = place.asOf || place.since || "0"
  const answer = useAsk<{ entries: { path: string; path_b64?: string; added: Sums; removed: Sums; changed: Sums }[]; from_folded_at: number; folded_at: number; from_version: number; version: number }>("diff",
    { ...below(place.path, ""), from: since, summary: true, depth: 1, pattern: place.q || undefined, ...place.filters })
  return <>
    <div class="tools">{place.asOf ? <span class="soft">from the version that is shown to now</span> : <Since />}</div>
    <Shown answer={answer}>{data => <>
      <p class="soft">From version {format.count(data.from_version)} of <When at={data.from_folded_at} /> to version {format.count(data.version)} of <When at={data.folded_at} />.</p>
      {!data.entries.some(e => differs(e.added) || differs(e.removed) || differs(e.changed)) ? <Empty>Nothing has changed here.</Empty> : <Signed head={["Directory", "Change", "Added", "Removed", "Changed"]} rows={data.entries.map(e => ({
        key: e.path_b64 ?? e.path, bytes: e.added.bytes - e.removed.bytes + e.changed.bytes, name: pathOf(e) === place.path ? <b>all of it</b> : <A to={{ path: pathOf(e) }} data-row=""><Name of={nameOf(pathOf(e))} /></A>,
        cells: [e.added, e.removed, e.changed].map(s => s.files + s.directories === 0 ? "" : `${format.plural(s.files, "file", "files")}${s.directories ? `, ${format.count(s.directories)} dir.` : ""}`) }))} />}
    </>}</Shown>
  </>
}

/** Signed is a table of changes with bars to both sides. */
function Signed({ head, rows }: { head: string[]; rows: { key: string; bytes: number; name: ComponentChildren; cells: string[] }[] }) {
  const most = Math.max(1, ...rows.map(r => Math.abs(r.bytes)))
  return <table class="entries"><thead><tr><th>{head[0]}</th><th class="number">{head[1]}</th><th class="share optional" aria-label="Change as a bar" />{head.slice(2).map(t => <th class="number">{t}</th>)}</tr></thead>
    <tbody>{rows.map(r => <tr key={r.key}><td class="name">{r.name}</td><td class="number"><Size of={r.bytes} sign /></td>
      <td class="share optional"><svg class={"bar both " + (r.bytes < 0 ? "less" : "more")} viewBox="-100 0 200 8" preserveAspectRatio="none" aria-hidden="true"><rect class="back" x="-100" width="200" height="8" /><rect class="front" x={Math.min(0, r.bytes / most * 100)} width={Math.abs(r.bytes / most * 100)} height="8" /></svg></td>
      {r.cells.map(c => <td class="number">{c}</td>)}</tr>)}</tbody></table>
}

/** ExportReport gives the table of a report that is no list of entries. */
function ExportReport({ call, command, extra = "", head, table }: { call: string; command: string; extra?: string; head: string[]; table: string[][] | undefined }) {
  const { place } = useHere()
  const { params, flags } = useReport()
  return <Export call={call} params={params} command={command} path={place.path} extra={[extra, flags].filter(s => s && !extra.includes(s)).join(" ")} {...table ? { table: [head, ...table] } : {}} />
}
