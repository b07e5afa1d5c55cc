// The map: a directory as boxes of the size of what is in them. The largest entries are asked for level by level, as far as their boxes
// have room for more; everything else of a directory is one box, "the rest".
import { h, Fragment } from "preact"
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks"
import { ask, below, pathOf, weight, type Measure, type Node } from "./api"
import * as format from "./format"
import type { Page } from "./pages"
import { A, Choice, Empty, Loading, Menu, Name, Size, Trouble, useAsk, useHere, When } from "./parts"
import { nameOf, ofText, oneLine, parentOf, type Path } from "./paths"
import { boxAt, colorsOf, inkOn, itemsOf, layout, next, type Box, type Item } from "./treemap"

const firstPage = 500 // entries of the directory itself
const innerPage = 80 // entries of one inside
const mostAsked = 48 // directories inside that are asked for
const worthAsking = 4200 // square pixels that a box has at least before its inside is asked for
const atOnce = 4

export function Map({ of }: { of: Node }) {
  const { place, go } = useHere()
  const by: Measure = place.by
  const top = useAsk<Page<Node>>("list", { ...below(place.path, place.asOf), sort: by === "allocated" ? "allocated" : "size", limit: firstPage })
  const growth = useAsk<{ entries: { path: string; path_b64?: string; bytes: number }[]; since: number }>(place.color === "growth" ? "reports/growth" : null,
    { ...below(place.path, place.asOf), since: place.since || "0", depth: 3, limit: 1000 })
  return <section aria-label="Map" class="map-page">
    <div class="tools">
      <Choice label="Size" at={place.by} set={to => go({ by: to }, "replace")} of={[["apparent", "Apparent"], ["allocated", "On disk"]]} />
      <Choice label="Colour" at={place.color} set={to => go({ color: to }, "replace")} of={[["age", "Age"], ["owner", "Owner"], ["extension", "Extension"], ["growth", "Growth"]]} />
      {place.color === "growth" && <Since />}
      <span class="space" />
      <Menu label="Keys" class="right"><dl class="keys"><dt>← ↑ ↓ →</dt><dd>the next box</dd><dt>Enter</dt><dd>into it</dd><dt>Backspace</dt><dd>up one directory</dd><dt>+ −</dt><dd>inside, outside</dd></dl><p class="soft">With a finger: tap to see what a box is, tap again to enter.</p></Menu>
    </div>
    {growth.problem && <Trouble problem={growth.problem} />}
    {top.data ? top.data.entries.length === 0 ? <Empty>This directory is empty.</Empty> :
      <Boxes key={place.path + place.asOf + by} of={of} page={top.data} by={by} growth={growth.data && new globalThis.Map(growth.data.entries.map(e => [pathOf(e), e.bytes]))} />
      : top.problem ? <Trouble problem={top.problem} /> : <Loading />}
  </section>
}

export function Since() {
  const { place, go } = useHere()
  return <label class="field">since <select value={place.since} onChange={e => go({ since: e.currentTarget.value }, "replace")}>
    {[["", "the oldest kept"], ["1h", "an hour ago"], ["1d", "a day ago"], ["7d", "a week ago"], ["30d", "a month ago"], ["1y", "a year ago"]].map(([v, t]) => <option value={v}>{t}</option>)}
    {place.since && !["1h", "1d", "7d", "30d", "1y"].includes(place.since) && <option value={place.since}>{place.since}</option>}
  </select></label>
}

/** byKey: the next map was opened by a key, so it gets the focus that the last one had. */
let byKey = false

function Boxes({ of, page, by, growth }: { of: Node; page: Page<Node>; by: Measure; growth: globalThis.Map<Path, number> | undefined }) {
  const { place, go } = useHere()
  const [inner, setInner] = useState<ReadonlyMap<Path, Item[]>>(new globalThis.Map())
  const [[width, height], setSize] = useState<[number, number]>([0, 0])
  const [at, setAt] = useState<Path | null>(null) // the selected path; of a rest, that of its directory with a mark
  const frame = useRef<HTMLDivElement>(null), canvas = useRef<HTMLCanvasElement>(null), over = useRef<HTMLCanvasElement>(null)

  useLayoutEffect(() => {
    const at = document.activeElement
    if (byKey && (at === document.body || at?.id === "content")) frame.current!.focus() // unless somebody went on meanwhile
    byKey = false
    const measure = () => {
      const box = frame.current!.getBoundingClientRect()
      setSize([Math.round(box.width), Math.round(box.height)])
    }
    measure()
    const watch = new ResizeObserver(measure)
    watch.observe(frame.current!)
    return () => watch.disconnect()
  }, [])

  const items = useMemo(() => {
    const within = (all: Item[]): Item[] => all.map(i => {
      const children = i.node ? inner.get(i.path) : undefined
      return children && children.length > 0 ? { ...i, children: within(children) } : i
    })
    return within(itemsOf(place.path, weight(of, by), page.entries, page.next_cursor !== undefined, by))
  }, [page, inner, by, of])
  const boxes = useMemo(() => width > 0 ? layout(items, width, height) : [], [items, width, height])
  const colors = useMemo(() => colorsOf(place.color, items, Date.now() / 1000, growth), [place.color, items, growth])

  useEffect(() => { // the inside of large boxes, the largest first
    if (inner.size >= mostAsked) return
    const wanted = boxes.filter(b => b.item.node?.type === "d" && !b.item.children && !inner.has(b.item.path) && b.w * b.h >= worthAsking && b.w > 30 && b.h > 30)
      .sort((a, b) => b.w * b.h - a.w * a.h).slice(0, atOnce)
    if (wanted.length === 0) return
    const abort = new AbortController()
    Promise.all(wanted.map(async b => {
      const path = b.item.path
      try {
        const inside = await ask<Page<Node>>(place.view, "list", { ...below(path, place.asOf), sort: by === "allocated" ? "allocated" : "size", limit: innerPage }, abort.signal)
        return [path, itemsOf(path, b.item.weight, inside.entries, inside.next_cursor !== undefined, by)] as [Path, Item[]]
      } catch {
        return [path, []] as [Path, Item[]] // it stays one box: it may have gone, or be forbidden
      }
    })).then(found => !abort.signal.aborted && setInner(was => new globalThis.Map([...was, ...found])))
    return () => abort.abort()
  }, [boxes])

  useLayoutEffect(() => {
    if (width > 0) draw(canvas.current!, width, height, boxes, colors.of)
  }, [boxes, colors, width, height])
  const selected = boxes.find(b => keyOf(b.item) === at) ?? undefined
  useLayoutEffect(() => {
    if (width > 0) outline(over.current!, width, height, selected)
  }, [selected, width, height])

  const enter = (b: Box, key = false) => { byKey = key; open(b) }
  const open = (b: Box) => b.item.node ? go({ path: b.item.path, show: b.item.node.type === "d" ? "map" : "list" }) : go({ path: b.item.path, show: "list", sort: by === "allocated" ? "allocated" : "size" })
  const pointed = (e: PointerEvent | MouseEvent) => {
    const r = frame.current!.getBoundingClientRect()
    return boxAt(boxes, e.clientX - r.left, e.clientY - r.top)
  }
  const touched = useRef(false)
  const keys = (e: KeyboardEvent) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key] ?? [0, 0]
    let to: Box | undefined
    if (dx || dy) to = selected ? next(boxes, selected, dx!, dy!) ?? selected : boxes.find(b => b.depth === 1)
    else if (e.key === "+" || e.key === "=") to = boxes.find(b => b.parent === selected && selected) ?? selected
    else if (e.key === "-") to = selected?.parent ?? selected
    else if (e.key === "Enter" && selected) return e.preventDefault(), enter(selected, true)
    else if (e.key === "Backspace" && place.path !== "/") {
      e.preventDefault()
      byKey = true
      return go({ path: parentOf(place.path) })
    }
    else return
    e.preventDefault()
    if (to) setAt(keyOf(to.item))
  }
  return <>
    <div class="map" ref={frame} tabIndex={0} role="application" aria-label={`Map of ${oneLine(place.path)}: ${items.length} boxes. Arrow keys move, Enter goes in, Backspace goes up.`} aria-describedby="map-status"
      onKeyDown={keys} onPointerDown={e => touched.current = e.pointerType === "touch"}
      onPointerMove={e => e.pointerType !== "touch" && setAt(keyOf(pointed(e)?.item))}
      onPointerLeave={e => e.pointerType !== "touch" && setAt(null)}
      onClick={e => {
        const b = pointed(e)
        if (!b) return
        if (touched.current && keyOf(b.item) !== at) setAt(keyOf(b.item))
        else enter(b)
      }}>
      <canvas ref={canvas} data-boxes={boxes.length} /><canvas ref={over} aria-hidden="true" />
    </div>
    <div class="map-status" id="map-status" aria-live="polite">{selected ? <Told box={selected} whole={weight(of, by)} growth={growth} place={place.path} /> :
      <ul class="legend" aria-label="Colours">{colors.legend.map(l => <li><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" rx="2" fill={l.color} /></svg><Name of={ofText(l.text)} /></li>)}</ul>}</div>
  </>
}

const keyOf = (i: Item | undefined) => i === undefined ? null : i.node ? i.path : i.path + "\u0000rest"

/** Told says what a box is. */
function Told({ box, whole, growth, place }: { box: Box; whole: number | null; growth: globalThis.Map<Path, number> | undefined; place: Path }) {
  const { item } = box, n = item.node
  const from = place === "/" ? 1 : place.length + 1
  return <p>
    {n ? <A to={{ path: item.path, show: n.type === "d" ? "map" : "list" }}><Name of={item.path.slice(from)} /></A> : <><b>The rest</b>{item.path !== place && <> of <Name of={item.path.slice(from)} /></>}</>}
    <b> <Size of={item.weight} /></b> {whole ? <span class="soft">{format.percent(item.weight / whole)}</span> : null}
    {n?.subtree && <span class="soft"> · {format.plural(n.subtree.files, "file", "files")}</span>}
    {n && !n.attributes_hidden && <span class="soft"> · newest <When at={n.subtree ? n.subtree.latest_mtime : n.modified_time} /> · <Name of={ofText(n.owner)} /></span>}
    {n && growth?.has(item.path) && <span> · <Size of={growth.get(item.path)} sign /></span>}
    {!n && <span class="soft"> all entries that are smaller than those shown, together</span>}
  </p>
}

function prepare(canvas: HTMLCanvasElement, width: number, height: number) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2)
  canvas.width = width * ratio
  canvas.height = height * ratio
  const c = canvas.getContext("2d")!
  c.scale(ratio, ratio)
  c.clearRect(0, 0, width, height)
  return c
}

function draw(canvas: HTMLCanvasElement, width: number, height: number, boxes: Box[], colorOf: (i: Item) => string) {
  const began = performance.now()
  const c = prepare(canvas, width, height)
  const style = getComputedStyle(canvas)
  c.font = `12px ${style.fontFamily}`
  c.textBaseline = "middle"
  for (const b of boxes) {
    const color = colorOf(b.item)
    if (b.item.children) {
      c.fillStyle = style.getPropertyValue("--map-frame")
      c.fillRect(b.x, b.y, b.w, b.h)
      if (b.header) label(c, b, nameOf(b.item.path) + "", b.item.weight, style.getPropertyValue("--map-ink"), b.y + b.header / 2 + 0.5)
      continue
    }
    c.fillStyle = color
    c.fillRect(b.x, b.y, b.w, b.h)
    if (b.item.node === undefined) hatch(c, b)
    if (b.w > 34 && b.h > 15) label(c, b, b.item.node ? nameOf(b.item.path) : "the rest", b.item.weight, inkOn(color), b.y + Math.min(b.h / 2, 10))
  }
  canvas.dataset.milliseconds = (performance.now() - began).toFixed(1)
}

function hatch(c: CanvasRenderingContext2D, b: Box) {
  c.save()
  c.beginPath()
  c.rect(b.x, b.y, b.w, b.h)
  c.clip()
  c.strokeStyle = "rgba(0, 0, 0, .12)"
  c.beginPath()
  for (let x = -b.h; x < b.w; x += 8) {
    c.moveTo(b.x + x, b.y + b.h)
    c.lineTo(b.x + x + b.h, b.y)
  }
  c.stroke()
  c.restore()
}

/** label writes a name, cut where it does not fit, and the size behind or below it where there is room. */
function label(c: CanvasRenderingContext2D, b: Box, name: Path, bytes: number, ink: string, y: number) {
  const room = b.w - 8
  let text = "\u2068" + (b.item.node ? oneLine(name.slice(0, 120)) : name) + "\u2069"
  const sizeText = format.size(bytes)
  c.fillStyle = ink
  let wide = c.measureText(text).width
  if (wide > room) {
    const fits = Math.max(1, Math.floor(text.length * room / wide) - 2)
    if (fits < 3) return
    text = text.slice(0, fits) + "…\u2069"
    wide = c.measureText(text).width
  }
  c.fillText(text, b.x + 4, y, room)
  c.globalAlpha = 0.72
  const also = c.measureText(sizeText).width
  if (b.item.children || b.h < 30) {
    if (wide + also + 10 < room) c.fillText(sizeText, b.x + 4 + wide + 8, y)
  } else if (also < room) c.fillText(sizeText, b.x + 4, y + 15)
  c.globalAlpha = 1
}

function outline(canvas: HTMLCanvasElement, width: number, height: number, b: Box | undefined) {
  const c = prepare(canvas, width, height)
  if (!b) return
  c.strokeStyle = "#fff"
  c.lineWidth = 4
  c.strokeRect(b.x + 1, b.y + 1, b.w - 2, b.h - 2)
  c.strokeStyle = "#000"
  c.lineWidth = 2
  c.strokeRect(b.x + 1, b.y + 1, b.w - 2, b.h - 2)
}
