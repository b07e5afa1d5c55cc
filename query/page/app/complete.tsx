// "Is it complete?" for any directory, kept up to date while it is open, and "scan this now".
import { h, Fragment } from "preact"
import { useEffect, useState } from "preact/hooks"
import { ask, type Problem } from "./api"
import * as format from "./format"
import { Ago, Choice, CopyPath, Size, Trouble, troubleOf, useHere } from "./parts"
import { params, quoted, type Path } from "./paths"

interface Answer {
  complete: boolean; exists: boolean; reasons: { code: string; text: string; agent?: string }[]; known_until: number | null; last_change: { at: number; path?: string } | null
  files: number; directories: number; bytes: number; suspects: { count: number }; unreadable: number; blind_spots: number; next_audit?: number | null; version: number; now: number
}

export interface Job { job_id: string; command: string; path: string; recursive?: boolean; state: string; files?: number; directories?: number; errors?: number; error?: string; requested_at: number; finished_at?: number; view_id?: string }

const quiets = [["10s", "10 s"], ["60s", "1 min"], ["5m", "5 min"], ["1h", "1 h"]] as const

export function Complete({ path }: { path: Path }) {
  const [open, set] = useState(false)
  return <div class="complete">
    <button type="button" aria-expanded={open} onClick={() => set(!open)}>Is it complete?</button>
    {open && <Panel path={path} />}
  </div>
}

function Panel({ path }: { path: Path }) {
  const { place } = useHere()
  const [quiet, setQuiet] = useState<string>("60s")
  const [answer, setAnswer] = useState<Answer>()
  const [problem, setProblem] = useState<Problem>()
  useEffect(() => {
    const abort = new AbortController()
    const loop = async () => {
      let known: number | undefined
      while (!abort.signal.aborted) {
        try {
          const a: Answer = await ask(place.view, "complete", { ...params(path), quiet, ...known === undefined ? {} : { known, wait: 20 } }, abort.signal)
          setAnswer(a)
          setProblem(undefined)
          known = a.version
          if (a.complete) await new Promise(done => setTimeout(done, 5000))
        } catch (e) {
          if (abort.signal.aborted) return
          setProblem(troubleOf(e))
          await new Promise(done => setTimeout(done, 5000))
        }
      }
    }
    void loop()
    return () => abort.abort()
  }, [place.view, path, quiet])
  return <div class="panel-below card">
    {problem && <Trouble problem={problem} />}
    {answer ? <>
      <h2 class={answer.complete ? "good" : "warn"} aria-live="polite">{answer.complete ? "✓ Yes, it is complete" : "Not yet, or not certain"}</h2>
      {answer.complete ? <p>Nothing has changed for {format.span(quietSeconds(quiet))}, nothing is being written, and everything that happened until <Ago at={answer.known_until} /> is in this view.</p> :
        <ul class="reasons">{answer.reasons.map(r => <li>{sentence(r.text)}</li>)}</ul>}
      <dl class="facts"><div><dt>Files</dt><dd>{format.count(answer.files)}</dd></div><div><dt>Size</dt><dd><Size of={answer.bytes} /></dd></div>
        <div><dt>Known until</dt><dd>{answer.known_until ? <Ago at={answer.known_until} /> : "–"}</dd></div><div><dt>Last change</dt><dd>{answer.last_change ? <Ago at={answer.last_change.at} /> : "–"}</dd></div></dl>
    </> : !problem && <p class="soft">Asking…</p>}
    <Choice label="Quiet for" at={quiet} set={setQuiet} of={quiets} />
    <div class="row"><ScanNow path={path} /><CopyPath of={path} /></div>
    <p class="soft">On a command line: <code>fustor wait {quoted(path)} --quiet {quiet}</code></p>
  </div>
}

const quietSeconds = (quiet: string) => ({ "10s": 10, "60s": 60, "5m": 300, "1h": 3600 })[quiet] ?? 60
const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".")

/** ScanNow asks the agent that leads to scan a path, and follows the scan to its end. */
export function ScanNow({ path }: { path: Path }) {
  const { place } = useHere()
  const [job, setJob] = useState<Job>()
  const [problem, setProblem] = useState<Problem>()
  useEffect(() => {
    if (!job || job.state === "done" || job.state === "failed") return
    const abort = new AbortController()
    const timer = setTimeout(() => ask<Job>(place.view, `jobs/${job.job_id}`, {}, abort.signal).then(setJob, () => setJob({ ...job })), 700)
    return () => {
      clearTimeout(timer)
      abort.abort()
    }
  }, [job])
  const begin = () => {
    setProblem(undefined)
    ask<{ job: Job }>(place.view, "tree", { ...params(path), on_demand_scan: true, only_path: true, limit: 1 }).then(a => setJob(a.job), (e: unknown) => setProblem(troubleOf(e)))
  }
  const running = job && job.state !== "done" && job.state !== "failed"
  return <span class="scan-now"><button type="button" disabled={running} onClick={begin}>Scan this now</button>
    <span role="status" class="soft">{problem ? problem.detail : job && jobWords(job)}</span></span>
}

export function jobWords(job: Job): string {
  const found = job.files !== undefined ? `${format.plural(job.files, "file", "files")}, ${format.plural(job.directories ?? 0, "directory", "directories")}` : ""
  switch (job.state) {
    case "queued": return "waits for its agent"
    case "running": return `scanning${found ? ": " + found : "…"}`
    case "folding": return `scanned ${found}; it is on its way into the view`
    case "done": return `done: ${found}${job.errors ? `, ${format.count(job.errors)} could not be read` : ""}`
    case "failed": return "failed: " + (job.error ?? "")
  }
  return job.state
}
