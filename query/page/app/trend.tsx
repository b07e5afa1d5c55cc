// How a directory grew over the kept versions, as lines and as a table.
import { h, Fragment } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import uPlot from "uplot"
import { below } from "./api"
import * as format from "./format"
import { A, Choice, Empty, Shown, Size, useAsk, useHere, When } from "./parts"

interface Point { version: number; published_at: number; exists: boolean; files: number; directories: number; bytes: number; allocated: number; member?: string; shares?: { owner: string; bytes: number }[] }

export function Trend() {
  const { place } = useHere()
  const [every, setEvery] = useState<string>("1h")
  const [by, setBy] = useState<"" | "owner">("")
  const answer = useAsk<{ entries: Point[] }>("reports/trend", { ...below(place.path, ""), every, by: by || undefined, limit: 200 })
  return <>
    <div class="tools"><Choice label="Every" at={every} set={setEvery} of={[["1h", "hour"], ["1d", "day"], ["7d", "week"], ["30d", "month"]]} /><Choice label="By" at={by} set={setBy} of={[["", "all"], ["owner", "owner"]]} /></div>
    <Shown answer={answer}>{data => {
      const points = data.entries.filter(p => p.exists && !p.member)
      if (data.entries.length === 0 || points.length === 0) return <Empty>{data.entries.some(p => p.member) ? "Each member of a forest has a trend of its own: choose one of them." : "No kept version has this directory."}</Empty>
      return <>
        {points.length > 1 ? <Plot points={points} by={by} /> : <p class="soft">So far one version of these intervals is kept; a line needs two.</p>}
        <table class="entries"><thead><tr><th>Version</th><th class="when">Of</th><th class="number">Size</th><th class="number">Change</th><th class="number optional">On disk</th><th class="number">Files</th></tr></thead>
          <tbody>{points.map((p, i) => <tr><td class="name"><A to={{ asOf: String(p.version), show: "list" }} data-row="" title="The page as of this version">{format.count(p.version)}</A></td><td class="when"><When at={p.published_at} /></td><td class="number"><Size of={p.bytes} /></td>
            <td class="number">{i > 0 && <Size of={p.bytes - points[i - 1]!.bytes} sign />}</td><td class="number optional"><Size of={p.allocated} /></td><td class="number">{format.count(p.files)}</td></tr>).reverse()}</tbody></table>
      </>
    }}</Shown>
  </>
}

const strokes = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1"]

function Plot({ points, by }: { points: Point[]; by: string }) {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const style = getComputedStyle(box.current!)
    const ink = style.getPropertyValue("--soft"), line = style.getPropertyValue("--line")
    const names = by ? [...new Set(points.flatMap(p => p.shares?.map(s => s.owner) ?? []))].slice(0, strokes.length) : []
    const lines = by ? names.map(n => points.map(p => p.shares?.find(s => s.owner === n)?.bytes ?? 0)) : [points.map(p => p.bytes), points.map(p => p.allocated)]
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: `12px ${style.fontFamily}` }
    const plot = new uPlot({
      width: box.current!.clientWidth, height: 260, legend: { live: true }, cursor: { drag: { x: false, y: false } },
      series: [{ label: "Time", value: (_, v) => v === null ? "" : format.time(v) }, ...(by ? names : ["Size", "On disk"]).map((label, i) => ({ label, stroke: strokes[i]!, width: 2, value: (_: uPlot, v: number | null) => v === null ? "" : format.size(v) }))],
      axes: [axis, { ...axis, size: 80, values: (_, values) => values.map(format.size) }], scales: { y: { range: (_, low, high) => [Math.min(low, low === high ? 0 : low - (high - low) * 0.05), high + Math.max(1, (high - low) * 0.05)] } },
    }, [points.map(p => p.published_at), ...lines] as uPlot.AlignedData, box.current!)
    const watch = new ResizeObserver(() => plot.setSize({ width: box.current!.clientWidth, height: 260 }))
    watch.observe(box.current!)
    return () => {
      watch.disconnect()
      plot.destroy()
    }
  }, [points, by])
  return <div class="plot" ref={box} role="img" aria-label="The sizes of the table below as lines over time" />
}
