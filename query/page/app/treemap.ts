// The layout of the map, and its colours. Pure: it takes nodes and returns boxes.
import { hierarchy, treemap } from "d3-hierarchy"
import { pathOf, weight, type Measure, type Node } from "./api"
import { nameOf, type Path } from "./paths"

/** Item is what the map knows of a path: the entry, and of a directory that was asked for what is in it. */
export interface Item {
  path: Path
  node?: Node // absent: the rest of a directory
  weight: number
  children?: Item[]
  rest?: number // how many entries a rest stands for; absent where that is not known
}

export interface Box { item: Item; parent?: Box; depth: number; x: number; y: number; w: number; h: number; header: number }

/** itemOf makes an item of a directory from a page of its entries: the largest, and one honest box for all others. */
export function itemsOf(directory: Path, whole: number | null, entries: Node[], more: boolean, by: Measure): Item[] {
  const items: Item[] = []
  let known = 0
  for (const n of entries) {
    const w = weight(n, by)
    if (w === null || w <= 0) continue
    known += w
    items.push({ path: pathOf(n), node: n, weight: w })
  }
  // A sum that is less than its parts was made at another moment, or is hidden: then there is no rest to be told.
  const rest = whole === null ? 0 : whole - known
  if (more && rest > 0) items.push({ path: directory, weight: rest })
  return items
}

export const headerHeight = 17

/** layout puts items into boxes, squarified; the directories that have children have a header. */
export function layout(items: Item[], width: number, height: number): Box[] {
  const root = hierarchy<Item>({ path: "/", weight: 0, children: items }, i => i.children)
    .sum(i => i.children ? 0 : i.weight)
    .sort((a, b) => Number(a.data.node === undefined) - Number(b.data.node === undefined) || (b.value ?? 0) - (a.value ?? 0))
  treemap<Item>().size([width, height]).round(true).paddingInner(() => 1)
    .padding(n => n.depth > 0 && n.children ? 1 : 0)
    .paddingTop(n => n.depth > 0 && n.children ? (n.x1 - n.x0 > 40 && n.y1 - n.y0 > headerHeight * 2 ? headerHeight : 1) : 0)(root)
  const boxes: Box[] = []
  const add = (n: typeof root | NonNullable<typeof root.children>[number], parent?: Box) => {
    const box: Box = { item: n.data, depth: n.depth, x: n.x0, y: n.y0, w: n.x1 - n.x0, h: n.y1 - n.y0, header: n.children && n.x1 - n.x0 > 40 && n.y1 - n.y0 > headerHeight * 2 ? headerHeight : 0, ...parent ? { parent } : {} }
    if (n.depth > 0 && box.w > 0 && box.h > 0) boxes.push(box)
    for (const child of n.children ?? []) add(child, n.depth > 0 ? box : undefined)
  }
  add(root)
  return boxes
}

/** boxAt is the innermost box at a point. */
export function boxAt(boxes: Box[], x: number, y: number): Box | undefined {
  let found: Box | undefined
  for (const b of boxes) {
    if (x >= b.x && x < b.x + b.w && y >= b.y && y < b.y + b.h && (!found || b.depth > found.depth)) found = b
  }
  return found
}

/** next is the box beside another one in a direction, of the same depth where there is one. */
export function next(boxes: Box[], from: Box, dx: number, dy: number): Box | undefined {
  const [cx, cy] = [from.x + from.w / 2, from.y + from.h / 2]
  let best: Box | undefined, cost = Infinity
  for (const b of boxes) {
    if (b === from || b.depth !== from.depth) continue
    const [x, y] = [b.x + b.w / 2 - cx, b.y + b.h / 2 - cy]
    const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx)
    if (along <= 0) continue
    const c = along + 2 * across
    if (c < cost) [best, cost] = [b, c]
  }
  return best
}

/** extensionOf is what reports take for the extension of a name. */
export function extensionOf(name: Path): string {
  const dot = name.lastIndexOf(".")
  const ext = dot < 0 ? "" : name.slice(dot + 1).toLowerCase()
  return /^[a-z0-9+\-_~]{1,16}$/.test(ext) ? ext : ""
}

export interface Legend { color: string; text: string }
export interface Colors { of: (item: Item) => string; legend: Legend[] }

/** neutral is of what has no value of its kind: directories where only files have one, and rests. */
export const neutral = "#8d96a1"
const rest = "#b4bac2"

const ages: [number, string, string][] = [
  [86400, "#fde725", "a day"], [7 * 86400, "#b5de2b", "a week"], [30 * 86400, "#6ece58", "a month"], [91 * 86400, "#35b779", "3 months"],
  [365 * 86400, "#1f9e89", "a year"], [2 * 365 * 86400, "#2f7d8e", "2 years"], [5 * 365 * 86400, "#3e5f96", "5 years"], [Infinity, "#5b4a8f", "older"],
]

const kinds = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f"]

/** colorsOf are the colours of items by what was chosen. now is the time that ages count from, Unix seconds. */
export function colorsOf(by: "age" | "owner" | "extension" | "growth", items: Item[], now: number, growth: Map<Path, number> | undefined): Colors {
  switch (by) {
    case "age": return {
      of: i => {
        const at = i.node?.subtree ? i.node.subtree.latest_mtime : i.node && !i.node.attributes_hidden ? i.node.modified_time : undefined
        return i.node === undefined ? rest : at === null || at === undefined ? neutral : ages.find(([age]) => now - at < age)?.[1] ?? ages.at(-1)![1]
      },
      legend: ages.map(([, color, text]) => ({ color, text: text === "older" ? text : "≤ " + text })),
    }
    case "growth": {
      let most = 1
      growth?.forEach(bytes => most = Math.max(most, Math.abs(bytes)))
      return {
        of: i => {
          if (i.node === undefined) return rest
          const bytes = i.node.type === "d" ? growth?.get(i.path) ?? 0 : undefined
          return bytes === undefined ? neutral : bytes === 0 ? "#c9ced4" : shade(bytes, most)
        },
        legend: [{ color: shade(most, most), text: "grew most" }, { color: shade(1, most), text: "grew" }, { color: "#c9ced4", text: "as it was" }, { color: shade(-1, most), text: "shrank" },
          { color: shade(-most, most), text: "shrank most" }, { color: neutral, text: "file" }],
      }
    }
  }
  const keyOf = (i: Item) => i.node === undefined || i.node.attributes_hidden ? undefined : by === "owner" ? i.node.owner : i.node.type === "d" ? undefined : extensionOf(nameOf(i.path)) || "none"
  const sums = new Map<string, number>()
  const walk = (all: Item[]) => all.forEach(i => {
    const key = keyOf(i)
    if (i.children) walk(i.children)
    else if (key !== undefined) sums.set(key, (sums.get(key) ?? 0) + i.weight)
  })
  walk(items)
  const order = [...sums].sort((a, b) => b[1] - a[1]).map(([key]) => key)
  const top = new Map(order.slice(0, kinds.length - 1).map((key, n) => [key, kinds[n]!]))
  return {
    of: i => {
      const key = keyOf(i)
      return i.node === undefined ? rest : key === undefined ? neutral : top.get(key) ?? kinds.at(-1)!
    },
    legend: [...[...top].map(([key, color]) => ({ color, text: by === "extension" && key !== "none" ? "." + key : key === "none" ? "no extension" : key })),
      ...order.length > top.size ? [{ color: kinds.at(-1)!, text: "others" }] : [], ...by === "extension" ? [{ color: neutral, text: "directory" }] : []],
  }
}

/** shade is a colour for a change: red for growth, blue for the opposite, by its magnitude. */
function shade(bytes: number, most: number): string {
  const steps = bytes > 0 ? ["#f2c4b3", "#e89a7c", "#d96c4a", "#b93a26"] : ["#b9d3ec", "#86b2df", "#4f8ccb", "#2463a6"]
  const at = Math.log2(1 + Math.abs(bytes)) / Math.log2(1 + most)
  return steps[Math.min(3, Math.floor(at * at * 4))]!
}

/** inkOn is the colour of text on a box. */
export function inkOn(color: string): string {
  const [r, g, b] = [1, 3, 5].map(i => {
    const c = parseInt(color.slice(i, i + 2), 16) / 255
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.19 ? "#10141a" : "#ffffff"
}
