// A directory as a list: every entry with its share of the directory, in pages without end.
import { h, Fragment, type ComponentChildren } from "preact"
import { useRef } from "preact/hooks"
import { below, pathOf, weight, type Node } from "./api"
import type { Place } from "./address"
import { Export } from "./export"
import * as format from "./format"
import { A, Choice, Empty, Icon, Loading, Marks, Name, Size, Trouble, useHere, When } from "./parts"
import { End, usePages } from "./pages"
import { nameOf, ofFields, parentOf, type Path } from "./paths"

/** List shows a directory. Without its node, whose answer is still to come, there are no shares. */
export function List({ of }: { of?: Node | undefined }) {
  const { place, go } = useHere()
  const sort = place.sort
  const params = { ...below(place.path, place.asOf), sort, limit: 100 }
  const pages = usePages<Node>("list", params)
  const by = sort === "allocated" ? "allocated" : "apparent"
  const whole = of ? weight(of, by) : null
  const box = useRef<HTMLTableElement>(null)
  const heading = (value: Place["sort"], text: string, classes: string, arrow: string) =>
    <th class={classes} aria-sort={sort === value ? (value === "name" ? "ascending" : "descending") : undefined}>
      <A to={{ sort: value }}>{text}{sort === value ? " " + arrow : ""}</A></th>
  return <section aria-label="Entries">
    <div class="tools">
      <Choice label="Sort" at={sort} set={to => go({ sort: to }, "replace")} of={[["name", "Name"], ["size", "Size"], ["allocated", "On disk"], ["mtime", "Newest"]]} />
      <span class="space" />
      <Export call="list" params={{ ...below(place.path, place.asOf), sort }} command="fustor ls" path={place.path} extra={sort === "name" ? "" : `--sort ${sort}`} />
    </div>
    {pages.problem && !pages.rows ? <Trouble problem={pages.problem} /> : !pages.rows ? <Loading /> : pages.rows.length === 0 ? <Empty>This directory is empty.</Empty> :
      <table class={"entries" + (pages.loading ? " stale" : "")} ref={box} onKeyDown={e => moveRow(e, box.current!, () => place.path !== "/" && go({ path: parentOf(place.path) }))}>
        <thead><tr>
          {heading("name", "Name", "", "↑")}
          {by === "allocated" ? heading("allocated", "On disk", "number", "↓") : heading("size", "Size", "number", "↓")}
          <th class="share optional">Share</th>
          <th class="number optional">Files below</th>
          {heading("mtime", "Modified", "when", "↓")}
          <th class="optional">Owner</th>
        </tr></thead>
        <tbody>{pages.rows.map(n => <Row key={n.path_b64 ?? n.path} of={n} by={by} whole={whole} />)}</tbody>
      </table>}
    <End of={pages} what="entries" />
  </section>
}

function Row({ of: n, by, whole }: { of: Node; by: "apparent" | "allocated"; whole: number | null }) {
  const path = pathOf(n), bytes = n.type === "f" || n.type === "d" || by === "allocated" ? weight(n, by) : null
  const share = bytes !== null && whole ? bytes / whole : 0
  return <tr>
    <td class="name"><Icon type={n.type} /><A to={{ path }} data-row=""><Name of={nameOf(path)} /></A>
      {n.target !== undefined && <span class="target"> → <Name of={ofFields(n.target, n.target_b64)} /></span>}<Marks of={n} /></td>
    <td class="number"><Size of={bytes} /></td>
    <td class="share optional" title={format.percent(share) + " of this directory"}>{bytes !== null && <Bar share={share} />}</td>
    <td class="number optional">{n.subtree ? format.count(n.subtree.files) : ""}</td>
    <td class="when">{n.attributes_hidden ? "" : <When at={n.modified_time} />}</td>
    <td class="owner optional"><Name of={ofFields(n.owner ?? "")} /></td>
  </tr>
}

/** Bar is a share as a length: an SVG, as the pages' policy forbids styles in markup. */
export function Bar({ share, kind = "" }: { share: number; kind?: string }) {
  return <svg class={"bar " + kind} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="back" width="100" height="8" rx="1" /><rect class="front" width={Math.max(0, Math.min(100, share * 100))} height="8" rx="1" /></svg>
}

/** moveRow moves the focus along the rows of a table: ↑ ↓, Home, End; Backspace goes up. */
export function moveRow(e: KeyboardEvent, table: HTMLElement, up: () => void) {
  if (e.altKey || e.ctrlKey || e.metaKey) return
  const rows = [...table.querySelectorAll<HTMLElement>("[data-row]")]
  const at = rows.indexOf(document.activeElement as HTMLElement)
  const to = e.key === "ArrowDown" ? at + 1 : e.key === "ArrowUp" ? at - 1 : e.key === "Home" ? 0 : e.key === "End" ? rows.length - 1 : -2
  if (e.key === "Backspace" || e.key === "ArrowLeft") {
    e.preventDefault()
    up()
  } else if (to !== -2 && rows[to]) {
    e.preventDefault()
    rows[to]!.focus()
  }
}

/** One shows an entry that is no directory. */
export function One({ of: n, path }: { of: Node; path: Path }) {
  const line = (label: string, value: ComponentChildren) => <><dt>{label}</dt><dd>{value}</dd></>
  return <section class="card" aria-label="Entry">
    <h2><Icon type={n.type} /><Name of={nameOf(path)} /><Marks of={n} /></h2>
    {n.attributes_hidden ? <Empty>Its directory may be listed and not searched by you, so only its name is shown.</Empty> : <dl class="facts-list">
      {n.target !== undefined && line("Leads to", <Name of={ofFields(n.target, n.target_b64)} />)}
      {line("Size", <>{format.size(n.size)} <span class="soft">({format.count(n.size)} bytes)</span></>)}
      {n.allocated !== undefined && line("On disk", <>{format.size(n.allocated)} <span class="soft">({format.count(n.allocated)} bytes)</span></>)}
      {line("Modified", <When at={n.modified_time} />)}
      {n.created_time !== null && line("Made", <When at={n.created_time} />)}
      {line("Owner", <Name of={ofFields(`${n.owner} : ${n.group}`)} />)}
      {line("Mode", <code>{(n.mode ?? 0).toString(8).padStart(4, "0")}</code>)}
      {n.links !== undefined && line("Links", format.count(n.links))}
      {n.acl && n.acl !== "none" && line("ACL", <code>{n.acl}</code>)}
      {line("Seen by", <><Name of={ofFields(n.last_agent_id)} /> <span class="soft"><Name of={ofFields(n.source_uri)} /></span></>)}
    </dl>}
    <p><A to={{ path: parentOf(path), show: "list" }}>Its directory</A></p>
  </section>
}
