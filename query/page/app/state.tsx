// How far a view can be trusted: who feeds it, what is being scanned, what is uncertain, and why; in words.
import { h, Fragment } from "preact"
import { pathOf, type Node } from "./api"
import { jobWords, ScanNow, type Job } from "./complete"
import * as format from "./format"
import { A, Ago, Empty, Name, Shown, Size, useAsk, useHere, When } from "./parts"
import { nameOf, ofText, parentOf } from "./paths"

interface Session {
  session_id: string; agent_id: string; member?: string; source_uri: string; role: string; paused: boolean; coverage?: string; last_activity: number; created_at: number; can_realtime: boolean
  silence?: { since: number; reason: string }
  agent_status?: {
    state?: string; backlog_bytes?: number; watch_method?: string; watch_reason?: string; watches?: number; unwatched?: number; root_lost?: string; hanging?: number; hanging_path?: string; spool_error?: string; version?: string
    tasks?: Record<string, { error: string }>; read_errors?: Record<string, { count: number; example: string }>
    scan?: { scan: string; seconds: number }; last_scan?: { directories: number }; rates?: { entries_per_s?: number }; directories?: number; files?: number; bytes?: number
  }
}

const follow = { every: 5000 }

export function State({ forest }: { forest: boolean }) {
  return <div class="state">
    <Agents />
    <Refused />
    <Jobs />
    {!forest && <Unreadable />}
    <Suspects />
    <BlindSpots />
  </div>
}

const states: Record<string, string> = { initializing: "connecting", running: "watching", snapshot: "first scan", message: "watching", draining: "stopping" }
const coverages: Record<string, [string, string]> = {
  "realtime": ["everything is watched", "Changes on this host are seen as they happen."],
  "realtime-hotset": ["the busiest directories are watched", "Changes elsewhere are found by the next audit."],
  "audit-only": ["nothing is watched", "Changes are found by audits alone."],
}

function Agents() {
  const answer = useAsk<{ active_sessions: Session[]; leader_session_id: string | null }>("sessions", {}, follow)
  return <section><h2>Agents</h2>
    <Shown answer={answer}>{data => {
      const all = [...data.active_sessions].sort((a, b) => Number(b.role === "leader") - Number(a.role === "leader") || a.agent_id.localeCompare(b.agent_id))
      return <>
        {all.length === 0 ? <p class="warn">No agent is connected to this view. It shows the last known state; new changes do not arrive.</p> :
          !all.some(s => s.role === "leader") && <p class="warn">{all.every(s => s.paused) ? "No agent leads this view, because all agents are paused. Nothing is scanned until one resumes." : "No agent leads this view at the moment, so nothing is scanned. An agent that is not paused takes over with its next heartbeat."}</p>}
        <div class="cards">{all.map(s => <Agent key={s.session_id} of={s} />)}</div>
      </>
    }}</Shown></section>
}

interface Refusal { segment: string; agent_id?: string; member?: string; reason: string; names_left_out?: number; refused_at: number }

function Refused() {
  const answer = useAsk<{ refused?: Refusal[] }>("sessions", {})
  return <Shown answer={answer}>{data => !data.refused?.length ? null : <section><h2>What was refused</h2>
    <p class="soft">These segments did not get into the view, or not with all that is in them.</p>
    <ul class="plain-list">{data.refused.map(r => <li><Name of={ofText(r.agent_id ?? "")} />{r.member && <> · {r.member}</>}, <Ago at={r.refused_at} />: {r.names_left_out ? <>{format.plural(r.names_left_out, "new name", "new names")} left out</> : <>refused, and its session ended</>}
      <span class="line soft"><Name of={ofText(r.segment)} /></span><span class="trouble"><Name of={ofText(r.reason)} /></span></li>)}</ul></section>}</Shown>
}

function Agent({ of: s }: { of: Session }) {
  const t = s.agent_status ?? {}
  const [cover, meaning] = coverages[s.coverage ?? ""] ?? ["coverage not reported yet", ""]
  return <article class={"card agent " + s.role}>
    <h3><Name of={ofText(s.agent_id)} /> <span class={"badge " + (s.role === "leader" ? "lead" : "quiet")}>{s.role}</span></h3>
    <p class="soft"><Name of={ofText(s.source_uri)} />{s.member && <> · {s.member}</>}</p>
    <dl class="facts-list">
      <dt>State</dt><dd>{s.paused ? "paused" : states[t.state ?? ""] ?? t.state ?? "starting"}</dd>
      <dt>Coverage</dt><dd title={t.watch_reason}>{cover}{t.watch_method && <span class="soft"> by {t.watch_method}</span>}{meaning && <span class="line soft">{meaning}</span>}{t.watch_reason && <span class="line soft"><Name of={ofText(t.watch_reason)} /></span>}</dd>
      {t.scan && <><dt>Scan</dt><dd><Scan of={t} /></dd></>}
      <dt>Unsent</dt><dd>{t.backlog_bytes ? <Size of={t.backlog_bytes} /> : "nothing"}</dd>
      <dt>Last seen</dt><dd><Ago at={s.last_activity} /> <span class="soft">since <When at={s.created_at} /></span></dd>
    </dl>
    {troubles(s).map(text => <p class="trouble"><Name of={ofText(text)} /></p>)}
  </article>
}

/** Scan is how far a scan is, as pipeapi.Progress has it: the end is estimated where the last scan of everything was larger than this one is yet. */
function Scan({ of: t }: { of: NonNullable<Session["agent_status"]> }) {
  const { scan, seconds } = t.scan!
  const done = t.directories ?? 0
  const all = scan !== "cover" && (t.last_scan?.directories ?? 0) > done ? t.last_scan!.directories : 0
  const share = all ? done / all : 0
  return <>{scan}, for {format.span(seconds)}
    {all > 0 && <progress class="line" max={all} value={done} aria-label={`of the ${scan}`}>{format.percent(share)}</progress>}
    <span class="line">{format.count(done)}{all > 0 && <> of about {format.count(all)}</>} directories, {format.plural(t.files ?? 0, "file", "files")}, <Size of={t.bytes ?? 0} /></span>
    <span class="line soft">{format.plural(Math.round(t.rates?.entries_per_s ?? 0), "entry", "entries")} a second{share >= 0.01 && seconds >= 5 && <>, about {format.span(seconds * (1 - share) / share)} left</>}</span></>
}

function troubles(s: Session): string[] {
  const t = s.agent_status ?? {}
  const out: string[] = []
  if (s.silence) out.push(`${s.role === "leader" ? "It leads, and" : "It lost the lease, as it"} last got something done ${format.ago(s.silence.since)}: ${s.silence.reason}`)
  if (t.root_lost) out.push(`The root directory is not available: ${t.root_lost}`)
  if (t.hanging) out.push(`The file server does not respond for ${format.plural(t.hanging, "path", "paths")}, for example ${t.hanging_path}`)
  if (t.spool_error) out.push(`Cannot write to the spool: ${t.spool_error}`)
  for (const [name, task] of Object.entries(t.tasks ?? {})) out.push(`Task ${name} failed: ${task.error}`)
  for (const [kind, e] of Object.entries(t.read_errors ?? {})) if (e.count > 0) out.push(`Cannot read ${format.plural(e.count, "path", "paths")} (${kind}), for example ${e.example}`)
  return out
}

function Jobs() {
  const answer = useAsk<{ jobs: Job[] }>("jobs", { limit: 20 }, { every: 2000 })
  const { forest } = useHere()
  return <section><h2>Scans and commands</h2>
    {!forest && <p><ScanNow path="/" /></p>}
    <Shown answer={answer}>{data => data.jobs.length === 0 ? <Empty>Nobody has asked for a scan in the last day. Any directory can be scanned from its page, under “Is it complete?”.</Empty> :
      <table class="entries"><thead><tr><th>Path</th><th>What became of it</th><th class="when">Asked for</th></tr></thead>
        <tbody>{data.jobs.map(j => <tr key={j.job_id}><td class="name">{j.command === "scan" ? <A to={{ path: ofText(j.path ?? "/"), show: "list" }}><Name of={ofText(j.path ?? "/")} /></A> : j.command}</td><td class={j.state === "failed" ? "trouble-text" : ""}>{jobWords(j)}</td><td class="when"><Ago at={j.requested_at} /></td></tr>)}</tbody></table>}</Shown></section>
}

function Unreadable() {
  const answer = useAsk<{ scan_error_count: number; scan_errors: unknown[] }>("stats", {})
  return <Shown answer={answer}>{data => data.scan_error_count === 0 ? null : <section><h2>Directories that could not be read ({format.count(data.scan_error_count)})</h2>
    <p class="soft">The last scans could not read these. The view keeps what it knew about them.</p>
    <ul class="plain-list">{data.scan_errors.map(e => <li><Name of={ofText(typeof e === "string" ? e : Object.values(e as object).join(": "))} /></li>)}</ul></section>}</Shown>
}

function Suspects() {
  const answer = useAsk<Node[]>("suspect-list", { limit: 50 })
  return <Uncertain title="Files that may still be written to" meaning="These changed recently, and no agent has seen them closed since. Wait before you copy them; the mark ends by itself." none="Nothing is being written." answer={answer} rows={data => data} column="Modified" when={n => n.modified_time} />
}

interface Blind { additions_count: number; additions: Node[]; deletion_count: number; deletion_details: Node[] }

function BlindSpots() {
  const answer = useAsk<Blind>("blind-spots", { limit: 50 })
  return <>
    <Uncertain title="Changes that no agent reported" meaning="A scan found these entries new or changed, but no agent reported the change when it happened. Either a host without an agent wrote them, or its agent was not running." none="Every change was reported by an agent." answer={answer}
      rows={data => data.additions} count={data => data.additions_count} column="Found" when={n => n.found_at} />
    <Uncertain title="Deletions that no agent reported" meaning="A scan found that these entries no longer exist, but no agent reported that they were deleted or moved." none="Every deletion was reported by an agent." answer={answer}
      rows={data => data.deletion_details} count={data => data.deletion_count} column="Found" when={n => n.found_at} gone />
  </>
}

function Uncertain<T>({ title, meaning, none, answer, rows, count, column, when, gone = false }: { title: string; meaning: string; none: string; answer: ReturnType<typeof useAsk<T>>; rows: (of: T) => Node[]; count?: (of: T) => number; column: string; when: (of: Node) => number | undefined; gone?: boolean }) {
  return <section><h2>{title}{answer.data !== undefined && <span class="soft"> ({format.count(count?.(answer.data) ?? rows(answer.data).length)}{!count && rows(answer.data).length >= 50 ? " and more" : ""})</span>}</h2>
    <Shown answer={answer}>{data => rows(data).length === 0 ? <p class="good">✓ {none}</p> : <><p class="soft">{meaning}</p>
      <table class="entries"><thead><tr><th>Name</th><th class="number">Size</th><th class="when">{column}</th></tr></thead>
        <tbody>{rows(data).map(n => { const path = pathOf(n); return <tr><td class="name">{gone ? <Name of={nameOf(path)} /> : <A to={{ path, show: "list" }} data-row=""><Name of={nameOf(path)} /></A>}<A class="where" to={{ path: parentOf(path), show: "list" }}><Name of={parentOf(path)} /></A></td>
          <td class="number">{!gone && n.type === "f" && <Size of={n.size} />}</td><td class="when"><When at={when(n)} /></td></tr> })}</tbody></table></>}</Shown></section>
}
