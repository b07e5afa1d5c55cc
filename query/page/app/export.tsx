// What is shown, as a file or as the command that gives the same.
import { h, Fragment } from "preact"
import { useRef, useState } from "preact/hooks"
import { callURL, pathOf, type Node, type Params } from "./api"
import * as format from "./format"
import { Copy, Menu, useHere } from "./parts"
import { exactText, quoted, type Path } from "./paths"
import { quote } from "./query"

/** most is how many rows a file may have; the command has no such bound. */
const most = 200_000

interface Of { call: string; params: Params; command: string; path: Path; extra?: string; pathFlag?: boolean; table?: string[][] }

export function Export({ call, params, command, path, extra = "", pathFlag = false, table }: Of) {
  const { place } = useHere()
  const [state, set] = useState("")
  const abort = useRef<AbortController | null>(null)
  const where = path === "/" && pathFlag ? "" : pathFlag ? "--path " + quoted(path) : quoted(path)
  const line = [command.trim(), where, extra, place.asOf && `--as-of ${quote(place.asOf)}`, place.view !== "default" && `--view ${place.view}`].filter(s => s).join(" ")
  const url = new URL(callURL(place.view, call, params), location.href).href
  const curl = `curl -sH "X-API-Key: $FUSTOR_API_KEY" -H "Accept: application/x-ndjson" ${quote(url)}`
  const save = async (kind: "csv" | "ndjson" | "paths") => {
    abort.current?.abort()
    abort.current = new AbortController()
    try {
      const { blob, rows, cut } = table ? fileOfTable(table) : await fileOf(kind, place.view, call, params, abort.current.signal, n => set(`${format.count(n)} rows…`))
      const link = document.createElement("a")
      link.href = URL.createObjectURL(blob)
      link.download = `${place.view}-${call.replaceAll("/", "-")}.${kind === "paths" ? "txt" : kind}`
      link.click()
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
      set(cut ? `The first ${format.count(rows)} rows; the command has them all.` : `${format.count(rows)} rows`)
    } catch (e) {
      set(`It did not work: ${(e as Error).message}`)
    }
  }
  return <Menu label="Export" title="What is shown, as a file or as a command" class="right">
    <div class="row">
      <button type="button" onClick={() => save("csv")}>CSV</button>
      {!table && <><button type="button" onClick={() => save("ndjson")}>NDJSON</button>
        <button type="button" onClick={() => save("paths")}>Paths</button></>}
    </div>
    <p class="soft" role="status">{state}</p>
    <p class="label">On a command line</p>
    <pre>{line}</pre><Copy text={line} label="Copy" class="small" />
    <p class="label">By HTTP</p>
    <pre>{curl}</pre><Copy text={curl} label="Copy" class="small" />
  </Menu>
}

/** fileOfTable is a table that is shown, its head first. */
function fileOfTable(table: string[][]) {
  return { blob: new Blob([table.map(row => row.map(csvCell).join(",") + "\r\n").join("")], { type: "application/octet-stream" }), rows: table.length - 1, cut: false }
}

async function fileOf(kind: "csv" | "ndjson" | "paths", view: string, call: string, params: Params, signal: AbortSignal, progress: (rows: number) => void) {
  const pieces: BlobPart[] = kind === "csv" ? ["path,type,size,allocated,modified,owner,group,member\r\n"] : []
  let rows = 0, cursor: string | undefined
  for (; ;) {
    const answer = await fetch(callURL(view, call, { ...params, limit: 10_000, cursor }), { signal, headers: { Accept: "application/x-ndjson;end=true" } })
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the server answers ${answer.status}`)
    cursor = undefined
    let ended = false
    for (const line of (await answer.text()).split("\n")) {
      if (line === "") continue
      const o = JSON.parse(line) as Node & { next_cursor?: string; end?: boolean; status?: number; detail?: string; members?: unknown }
      if (o.end) ended = true
      else if (o.next_cursor) cursor = o.next_cursor
      else if (o.path === undefined && o.status) throw new Error(o.detail)
      else if (o.path !== undefined) {
        rows++
        pieces.push(kind === "ndjson" ? line + "\n" : kind === "csv" ? csvOf(o) : bytes(pathOf(o)))
      }
    }
    if (!ended) throw new Error("the answer ended before its end; try again")
    progress(rows)
    if (cursor === undefined || rows >= most) break
  }
  return { blob: new Blob(pieces, { type: "application/octet-stream" }), rows, cut: cursor !== undefined }
}

/** bytes are a line of a list of paths, as they are. */
const bytes = (p: Path) => Uint8Array.from(p + "\n", c => c.charCodeAt(0))

function csvOf(n: Node): string {
  const path = pathOf(n)
  const cells = [exactText(path) ?? quoted(path), n.type, n.subtree?.bytes ?? n.size, n.subtree?.allocated ?? n.allocated ?? "", n.modified_time === undefined ? "" : new Date(n.modified_time * 1000).toISOString(), n.owner ?? "", n.group ?? "", n.member ?? ""]
  return cells.map(c => csvCell(String(c))).join(",") + "\r\n"
}

/** csvCell quotes a cell, and keeps spreadsheets from taking a name for a formula. */
const csvCell = (cell: string) => {
  const safe = /^[=+\-@\t\r]/.test(cell) ? "'" + cell : cell
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe
}
