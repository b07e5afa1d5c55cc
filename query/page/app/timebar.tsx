// The slider over the kept versions: it takes the whole page to one of them, and says how that differs from now.
import { h, Fragment } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { below, type Node, type Version } from "./api"
import * as format from "./format"
import { A, Size, useAsk, useHere, When } from "./parts"

export function TimeBar({ of }: { of: Node | undefined }) {
  const { place, go } = useHere()
  const [open, setOpen] = useState(place.asOf !== "")
  const versions = useAsk<{ versions: Version[] }>(open || place.asOf ? "versions" : null, { limit: 1000 })
  const current = useAsk<Node>(place.asOf ? "metadata" : null, below(place.path, ""))
  const list = [...versions.data?.versions ?? []].reverse()
  const shown = place.asOf === "" ? list.length - 1 : Math.max(0, list.findIndex(v => String(v.version) === place.asOf))
  const [at, setAt] = useState(shown)
  const timer = useRef(0)
  useEffect(() => setAt(shown), [shown, list.length])
  useEffect(() => setOpen(o => o || place.asOf !== ""), [place.asOf])
  const v = list[at]
  const choose = (n: number) => {
    setAt(n)
    clearTimeout(timer.current)
    timer.current = window.setTimeout(() => go({ asOf: n === list.length - 1 ? "" : String(list[n]!.version) }, "replace"), 150)
  }
  if (!open) return <button type="button" onClick={() => setOpen(true)}>Go back in time</button>
  const [then, now] = [of?.subtree, current.data?.subtree]
  return <div class={"time" + (place.asOf ? " past" : "")} role="group" aria-label="Version">
    <div class="row">
      <span>{place.asOf ? <>As of <b>{v && String(v.version) === place.asOf ? <When at={v.published_at} /> : place.asOf}</b></> : <>Now</>}</span>
      {list.length > 1 ? <input type="range" min={0} max={list.length - 1} value={at} aria-label="Kept version" aria-valuetext={v ? `version ${v.version}, ${format.time(v.published_at)}` : ""} onInput={e => choose(Number(e.currentTarget.value))} />
        : <span class="soft space">{versions.data ? "One version is kept so far." : "…"}</span>}
      {v && <span class="soft">version {format.count(v.version)}{v.kept?.some(k => k === "pin" || k === "pinned") ? " · pinned" : ""} · {at + 1} of {list.length}</span>}
      {place.asOf ? <button type="button" onClick={() => go({ asOf: "" })}>Back to now</button> : <button type="button" class="plain" onClick={() => setOpen(false)}>Close</button>}
    </div>
    {place.asOf && then && now && <p>Until now: <b><Size of={now.bytes - then.bytes} sign /></b>, {format.signed(now.files - then.files)} files, {format.signed(now.directories - then.directories)} directories · <A to={{ show: "insight", report: "changes" }}>what changed</A></p>}
    {place.asOf && current.problem?.status === 404 && <p class="warn">This path does not exist any more.</p>}
  </div>
}
