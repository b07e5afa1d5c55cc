// What administrators do: views, keys, sessions, retention, cost; by the calls of internal/admin, with the browser's cookie. Where the server
// does not answer them, it says so and has the commands. Whoever is no administrator never comes here.
import { h, Fragment, type ComponentChildren } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import type { Section } from "./address"
import { base, change, type Problem, type Version } from "./api"
import * as format from "./format"
import { A, Ago, Copy, Empty, Name, Shown, Size, Trouble, troubleOf, useAsk, useHere, When, type Answer } from "./parts"
import { ofText } from "./paths"
import { quote } from "./query"
import { SettingsForm, type Config, type Setting } from "./settings"

/** administration is what the server said with the page: "here", "elsewhere", or null to whoever is no administrator. */
export const administration = document.querySelector<HTMLScriptElement>("script[data-admin]")?.dataset.admin ?? null

const sections: [Section, string][] = [["views", "Views"], ["keys", "Keys"], ["sessions", "Sessions"], ["retention", "Retention"], ["cost", "Cost"]]

interface View {
  view_id: string; configured: boolean; config: Config; version: number; ready: boolean; folded_at: number | null
  files: number; directories: number; bytes: number; live_sessions: number; leader_agent_id: string
}

interface Views { views: View[] }

export function Admin() {
  const { place } = useHere()
  return <div class="admin">
    <nav class="sections" aria-label="Parts of administration">{sections.map(([section, text]) =>
      <A to={{ section }} aria-current={place.section === section ? "page" : undefined}>{text}</A>)}</nav>
    {administration === "here" ? place.section === "views" ? <ViewsPart /> : place.section === "keys" ? <Keys /> : place.section === "cost" ? <Cost /> : <OfView of={place.section} /> : <Elsewhere />}
  </div>
}

const commands: Record<Section, [string, string][]> = {
  views: [["fustor admin view list", "the views"], ["fustor admin view create VIEW --audit-interval 6h", "a new one; --help has all settings"], ["fustor admin view configure VIEW --keep-daily 30", "changes settings"], ["fustor admin reset VIEW", "starts a view over"], ["fustor admin view delete VIEW", "removes it with all that it has"]],
  keys: [["fustor admin key list", "the keys"], ["fustor admin key create NAME --role query --view VIEW --expires 720h", "a new one, shown once"], ["fustor admin key create NAME --role query --view VIEW --as USER", "for what a user may see"], ["fustor admin key revoke NAME", "takes one away"]],
  sessions: [["fustor admin session list VIEW", "who feeds a view"], ["fustor admin session end VIEW ID", "ends a session; its agent begins a new one"]],
  retention: [["fustor admin versions VIEW", "the versions and what they take in the store"], ["fustor admin retain VIEW --dry-run", "what the next run removes"], ["fustor admin version pin VIEW NAME", "keeps the newest version by name"], ["fustor admin version unpin VIEW NAME", "no longer"]],
  cost: [["fustor cost --files N --agents N --events N --queries N --polling", "a month of a workload"]],
}

/** Elsewhere is the place where this server does not administer. */
function Elsewhere() {
  const { place } = useHere()
  return <section><h2>{sections.find(([s]) => s === place.section)![1]}</h2>
    <p>This server only reads: it does not change views, keys or sessions. {place.section !== "cost" && <>Do that from a shell, with <code>--store URL</code> and the store's credentials, or with <code>--url</code> of the ingest and a key of the role admin.</>}</p>
    <dl class="commands">{commands[place.section].map(([line, text]) => <><dt><code>{line}</code> <Copy text={line} label="Copy" class="small" /></dt><dd>{text}</dd></>)}</dl>
    {place.section !== "cost" && <p class="soft">To have it here, start the server with <code>fustor query --administer</code>, and give it a store that it may write.</p>}
  </section>
}

// ---- what all parts are made of

/** Shell is the command that does the same. */
function Shell({ line }: { line: string }) {
  return <p class="soft shell">From a shell: <code>{line}</code> <Copy text={line} label="Copy" class="small" /></p>
}

/** useDoing runs a change and keeps what became of it. */
function useDoing() {
  const [doing, set] = useState(false)
  const [problem, setProblem] = useState<Problem>()
  const run = async <T,>(what: () => Promise<T>): Promise<T | undefined> => {
    set(true)
    setProblem(undefined)
    try {
      return await what()
    } catch (e) {
      setProblem(troubleOf(e))
      return undefined
    } finally {
      set(false)
    }
  }
  return { doing, problem, run, clear: () => setProblem(undefined) }
}

interface Confirmed { label: string; title: string; children: ComponentChildren; run: () => Promise<unknown>; done: () => void; line: string; typed?: string; accessible: string }

/** Confirm is a button that asks before it does something that cannot be taken back. typed is what must be typed first. */
function Confirm({ label, title, children, run, done, line, typed, accessible }: Confirmed) {
  const box = useRef<HTMLDialogElement>(null), cancel = useRef<HTMLButtonElement>(null)
  const [text, setText] = useState("")
  const act = useDoing()
  const open = () => {
    setText("")
    act.clear()
    box.current?.showModal()
    cancel.current?.focus()
  }
  return <>
    <button type="button" class="small danger" aria-label={accessible} onClick={open}>{label}</button>
    <dialog ref={box} aria-label={title}>
      <form method="dialog" onSubmit={async e => {
        e.preventDefault()
        if (typed !== undefined && text !== typed) return
        if (await act.run(async () => { await run(); return true })) {
          box.current?.close()
          document.getElementById("content")?.focus() // the button may go with what it was about
          done()
        }
      }}>
        <h2>{title}</h2>
        {children}
        {typed !== undefined && <label class="field wide">Type <b>{typed}</b> to confirm<input value={text} autocomplete="off" spellcheck={false} onInput={e => setText(e.currentTarget.value)} /></label>}
        {act.problem && <Trouble problem={act.problem} />}
        <div class="row"><button type="submit" class="danger" disabled={act.doing || typed !== undefined && text !== typed}>{label}</button>
          <button type="button" ref={cancel} onClick={() => box.current?.close()}>Cancel</button></div>
        <Shell line={line} />
      </form>
    </dialog>
  </>
}

const path = (...parts: string[]) => parts.map(p => "/" + encodeURIComponent(p)).join("")

// ---- views

function ViewsPart() {
  const views = useAsk<Views>("/admin/views", {}, { live: false })
  const settings = useAsk<{ settings: Setting[] }>("/admin/settings", {}, { live: false })
  const [open, set] = useState("")
  const [made, setMade] = useState("")
  const again = () => {
    set("")
    views.again()
  }
  return <section><h2>Views</h2>
    <Shown answer={views}>{data => <>
      {data.views.length === 0 ? <Empty>There is no view yet. Create one below, or start an agent: a view appears with its first session.</Empty> :
        <div class="scroll" tabIndex={0} role="region" aria-label="Views"><table class="entries"><thead><tr><th>View</th><th class="number">Files</th><th class="number optional">Size</th><th class="optional">Led by</th><th class="when optional">Published</th><th>Do</th></tr></thead>
          <tbody>{data.views.map(v => <>
            <tr><td class="name"><a href={`${base}/browse/${v.view_id}`}>{v.view_id}</a>{v.config.members?.length ? <span class="where">forest of {v.config.members.join(", ")}</span> : !v.ready && <span class="where">no version to read yet</span>}</td>
              <td class="number">{v.config.members?.length ? "" : format.count(v.files)}</td><td class="number optional">{!v.config.members?.length && <Size of={v.bytes} />}</td>
              <td class="optional">{v.leader_agent_id ? <Name of={ofText(v.leader_agent_id)} /> : <span class="soft">nobody</span>}{v.live_sessions > 1 && <span class="soft"> of {v.live_sessions}</span>}</td>
              <td class="when optional"><Ago at={v.folded_at} /></td>
              <td class="actions"><button type="button" class="small" aria-label={`Settings of ${v.view_id}`} aria-expanded={open === v.view_id} onClick={() => set(open === v.view_id ? "" : v.view_id)}>Settings</button>
                {!v.config.members?.length && <Confirm label="Start over" accessible={`Start ${v.view_id} over`} title={`Start ${v.view_id} over?`} typed={v.view_id} done={again} run={() => change("POST", path("views", v.view_id, "reset"))} line={`fustor admin reset ${v.view_id}`}>
                  <p>The view is empty at once, and its sessions end. It can be read again when the first scan of its next leader is complete.</p></Confirm>}
                <Confirm label="Delete" accessible={`Delete ${v.view_id}`} title={`Delete ${v.view_id}?`} typed={v.view_id} done={again} run={() => change("DELETE", path("views", v.view_id))} line={`fustor admin view delete ${v.view_id}`}>
                  <p>The view goes with all its versions and settings{v.live_sessions > 0 && <>; first stop its {format.plural(v.live_sessions, "agent", "agents")}</>}. This cannot be taken back.</p></Confirm></td></tr>
            {open === v.view_id && <tr><td colSpan={6} class="form"><Shown answer={settings}>{s => <SettingsForm settings={s.settings} config={v.config} line={flags => `fustor admin view configure ${v.view_id}${flags}`}
              save={fields => change("PATCH", path("views", v.view_id), fields)} saved={() => views.again()} />}</Shown></td></tr>}
          </>)}</tbody></table></div>}
      <NewView settings={settings} made={view => {
        setMade(view)
        again()
      }} />
      {made && <p role="status" class="good">View “{made}” is made. An agent feeds it with <code>fustor agent DIR --view {made}</code>.</p>}
    </>}</Shown></section>
}

function NewView({ settings, made }: { settings: Answer<{ settings: Setting[] }>; made: (view: string) => void }) {
  const [open, set] = useState(false)
  const [name, setName] = useState("")
  const good = /^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)
  return <div class="new"><button type="button" aria-expanded={open} onClick={() => set(!open)}>New view…</button>
    {open && <div class="card"><label class="field wide">Name<input value={name} autocomplete="off" spellcheck={false} maxLength={63} aria-describedby="new-view-name" aria-invalid={name !== "" && !good} onInput={e => setName(e.currentTarget.value)} /></label>
      <p class="soft" id="new-view-name">1 to 63 of a–z 0–9 - _, beginning with a letter or digit.</p>
      <Shown answer={settings}>{s => <SettingsForm settings={s.settings} config={null} may={good} line={flags => `fustor admin view create ${good ? name : "VIEW"}${flags}`}
        save={fields => change("POST", "/views", { view_id: name, ...fields })} saved={() => {
          made(name)
          set(false)
          setName("")
          document.getElementById("content")?.focus()
        }} />}</Shown></div>}</div>
}

// ---- keys

interface Key { id: string; name: string; roles: string[]; views: "*" | string[]; created_at_ns: number; expires_at_ns?: number; expired: boolean; as?: string; damaged?: string }

const seconds = (ns: number) => ns / 1e9

function Keys() {
  const keys = useAsk<{ keys: Key[] }>("/admin/keys", {}, { live: false })
  const [made, setMade] = useState<(Key & { api_key: string }) | null>(null)
  return <section><h2>Keys</h2>
    <p class="soft">A key opens views to programs and people; the store has no more of it than a fingerprint.</p>
    {made && <Told of={made} close={() => {
      setMade(null)
      document.getElementById("content")?.focus()
    }} />}
    <NewKey made={k => {
      setMade(k)
      keys.again()
    }} />
    <Shown answer={keys}>{data => data.keys.length === 0 ? <Empty>The store has no keys. The server may accept one more, which it was started with.</Empty> :
      <div class="scroll" tabIndex={0} role="region" aria-label="Keys"><table class="entries"><thead><tr><th>Name</th><th>May</th><th class="optional">Views</th><th class="when optional">Made</th><th class="when">Ends</th><th>Do</th></tr></thead>
        <tbody>{data.keys.map(k => <tr key={k.id}><td class="name"><Name of={ofText(k.name || "(damaged)")} /><span class="where">{k.id}</span>{k.damaged && <span class="trouble"><Name of={ofText(k.damaged)} /></span>}</td>
          <td>{k.roles.join(", ")}{k.as && <span class="line soft">as <Name of={ofText(k.as)} /></span>}</td><td class="optional">{k.views === "*" ? "all" : k.views.join(", ")}</td>
          <td class="when optional">{k.created_at_ns ? <When at={seconds(k.created_at_ns)} /> : ""}</td>
          <td class="when">{k.expired ? <span class="warn">has ended</span> : k.expires_at_ns ? <When at={seconds(k.expires_at_ns)} /> : "never"}</td>
          <td class="actions"><Confirm label="Revoke" accessible={`Revoke ${k.name || k.id}`} title="Revoke this key?" done={() => keys.again()} run={() => change("DELETE", path("keys", k.id))} line={`fustor admin key revoke ${k.id}`}>
            <p><b><Name of={ofText(k.name || k.id)} /></b>: whoever uses it is refused within 30 seconds. If this browser does, it is logged out.</p></Confirm></td></tr>)}</tbody></table></div>}</Shown></section>
}

/** Told is the one time that a key is shown. It stays in this page's memory alone, and goes when it is closed or the page is left. */
function Told({ of, close }: { of: Key & { api_key: string }; close: () => void }) {
  const box = useRef<HTMLElement>(null)
  useEffect(() => box.current?.focus(), [])
  return <section ref={box} tabIndex={-1} class="card told" aria-label="The new key">
    <h3>The key of <Name of={ofText(of.name)} /></h3>
    <p class="warn">It is shown this once. Copy it now: nobody can show it again.</p>
    <p class="row"><code class="secret">{of.api_key}</code><Copy text={of.api_key} label="Copy the key" title="Copy the key" class="" /></p>
    <button type="button" onClick={close}>I have it</button>
  </section>
}

const ends: [string, string][] = [["", "never"], ["30", "in 30 days"], ["90", "in 90 days"], ["365", "in a year"]]

function NewKey({ made }: { made: (k: Key & { api_key: string }) => void }) {
  const { place } = useHere()
  const [open, set] = useState(false)
  const [name, setName] = useState(""), [roles, setRoles] = useState<string[]>(["query"]), [all, setAll] = useState(false), [views, setViews] = useState(place.view), [as, setAs] = useState(""), [days, setDays] = useState("90")
  const known = useAsk<Views>(open ? "/admin/views" : null, {}, { live: false })
  const act = useDoing()
  const list = views.split(/[\s,]+/).filter(v => v !== "")
  const line = ["fustor admin key create", quote(name || "NAME"), ...(as ? ["query"] : roles).map(r => "--role " + r), ...all ? [] : list.map(v => "--view " + quote(v)), ...as ? ["--as " + quote(as)] : [], ...days ? [`--expires ${Number(days) * 24}h`] : []].join(" ")
  const submit = async (e: Event) => {
    e.preventDefault()
    const k = await act.run(() => change<Key & { api_key: string }>("POST", "/keys", { name, roles: as ? ["query"] : roles, views: all ? "*" : list, ...as ? { as } : {}, ...days ? { expires_at_ns: (Math.floor(Date.now() / 1000) + Number(days) * 86400) * 1e9 } : {} }))
    if (!k) return
    set(false)
    setName("")
    made(k)
  }
  const role = (r: string, text: string) => <label class="check"><input type="checkbox" checked={as ? r === "query" : roles.includes(r)} disabled={as !== ""} onChange={e => setRoles(e.currentTarget.checked ? [...roles, r] : roles.filter(x => x !== r))} /> <b>{r}</b> <span class="soft">{text}</span></label>
  return <div class="new"><button type="button" aria-expanded={open} onClick={() => set(!open)}>New key…</button>
    {open && <form class="card" onSubmit={submit}>
      <label class="field wide">Name, for people: whose key it is<input value={name} required maxLength={200} autocomplete="off" onInput={e => setName(e.currentTarget.value)} /></label>
      <fieldset><legend>It may</legend>{role("query", "read views")}{role("ingest", "feed views: for agents")}{role("admin", "do everything, and make keys")}</fieldset>
      <fieldset><legend>Of</legend>
        <label class="check"><input type="radio" name="views" checked={!all} onChange={() => setAll(false)} /> these views</label>
        <label class="check"><input type="radio" name="views" checked={all} onChange={() => setAll(true)} /> all views, also those to come</label>
        {!all && <><label class="field wide">Views, separated by blanks<input value={views} list="known-views" autocomplete="off" spellcheck={false} onInput={e => setViews(e.currentTarget.value)} /></label>
          <datalist id="known-views">{known.data?.views.map(v => <option value={v.view_id} />)}</datalist></>}</fieldset>
      <label class="field wide">As a user, with that user's file permissions (a name that the server's host knows, or uid:gid,gid)<input value={as} placeholder="nobody: it sees everything" autocomplete="off" spellcheck={false} onInput={e => setAs(e.currentTarget.value.trim())} /></label>
      <label class="field wide">It ends<select value={days} onChange={e => setDays(e.currentTarget.value)}>{ends.map(([d, text]) => <option value={d}>{text}</option>)}</select></label>
      {act.problem && <Trouble problem={act.problem} />}
      <div class="row"><button type="submit" disabled={act.doing || !as && roles.length === 0 || !all && list.length === 0}>Make the key</button></div>
      <Shell line={line} />
    </form>}</div>
}

// ---- what is of one view

function OfView({ of }: { of: Section }) {
  const { place, go } = useHere()
  const views = useAsk<Views>("/admin/views", {}, { live: false })
  return <Shown answer={views}>{data => {
    const real = data.views.filter(v => !v.config.members?.length)
    const view = real.find(v => v.view_id === place.view) ?? real[0]
    if (!view) return <Empty>There is no view with data of its own yet.</Empty>
    return <>
      {real.length > 1 && <label class="field">View <select value={view.view_id} onChange={e => go({ view: e.currentTarget.value }, "replace")}>{real.map(v => <option value={v.view_id}>{v.view_id}</option>)}</select></label>}
      {of === "sessions" ? <Sessions key={view.view_id} view={view.view_id} /> : <Retention key={view.view_id} view={view} />}
    </>
  }}</Shown>
}

interface Session { session_id: string; task_id: string; agent_id: string; source_uri: string; client_ip: string; role: string; state: string; ended_reason?: string; created_at: number; last_activity: number | null }
interface LiveSession { session_id: string; agent_status?: { backlog_bytes?: number } }

function Sessions({ view }: { view: string }) {
  const sessions = useAsk<{ sessions: Session[] }>(`/admin/views/${view}/sessions`, {}, { live: false, every: 5000 })
  const live = useAsk<{ active_sessions: LiveSession[] }>("sessions", {}, { view, live: false, every: 5000 })
  const lag = (s: Session) => live.data?.active_sessions.find(l => l.session_id === s.session_id)?.agent_status?.backlog_bytes
  return <section><h2>Sessions of {view}</h2>
    <Shown answer={sessions}>{data => data.sessions.length === 0 ? <Empty>No agent feeds this view. <code>fustor agent DIR --view {view}</code> on a host begins a session.</Empty> :
      <div class="scroll" tabIndex={0} role="region" aria-label="Sessions"><table class="entries"><thead><tr><th>Agent</th><th>Role</th><th class="when optional">Since</th><th class="when">Last heard</th><th class="number optional">Unsent</th><th>Do</th></tr></thead>
        <tbody>{data.sessions.map(s => <tr key={s.session_id}><td class="name"><Name of={ofText(s.agent_id)} /><span class="where"><Name of={ofText(s.source_uri)} />{s.client_ip && <> from {s.client_ip}</>}</span></td>
          <td>{s.state === "live" ? s.role === "leader" ? <b>leader</b> : s.role : <span class="warn">{s.state === "lost" ? "timed out" : "ended"}{s.ended_reason && <span class="line soft"><Name of={ofText(s.ended_reason)} /></span>}</span>}</td>
          <td class="when optional"><When at={s.created_at} /></td><td class="when">{s.last_activity ? <Ago at={s.last_activity} /> : "–"}</td><td class="number optional">{lag(s) === undefined ? "" : lag(s) ? <Size of={lag(s)} /> : "nothing"}</td>
          <td class="actions">{s.state !== "ended" && <Confirm label="End" accessible={`End the session of ${s.agent_id}`} title="End this session?" done={() => sessions.again()} run={() => change("DELETE", path("views", view, "sessions", s.session_id))} line={`fustor admin session end ${view} ${s.session_id}`}>
            <p>The session of <b><Name of={ofText(s.agent_id)} /></b> ends. If the agent lives, it hears of that with its next heartbeat, begins a new session and scans.</p></Confirm>}</td></tr>)}</tbody></table></div>}</Shown></section>
}

interface Usage { objects: number; bytes: number }
interface History { objects: { manifests: Usage; layers: Usage; superseded_layers: Usage; segments: Usage }; unfolded_segments: Usage; orphans: string[] }
interface Removal { key: string; bytes: number; age_seconds: number; why: string }

const keeps: Record<string, string> = { current: "the newest", recent: "recent", hourly: "hourly", daily: "daily", weekly: "weekly", monthly: "monthly", yearly: "yearly" }

function Retention({ view }: { view: View }) {
  const id = view.view_id
  const versions = useAsk<{ versions: (Version & { kept_until?: number | null })[] }>("versions", {}, { view: id, live: false })
  const stored = useAsk<History>(`/admin/views/${id}/versions`, { limit: 1 }, { live: false })
  const [dry, setDry] = useState<Removal[]>(), [removed, setRemoved] = useState<Removal[]>()
  const act = useDoing()
  const sum = (of: Removal[]) => of.reduce((n, r) => n + r.bytes, 0)
  return <section><h2>What {id} keeps</h2>
    <p class="soft">{policy(view.config)} <A to={{ section: "views" }}>Settings</A></p>
    <Shown answer={stored}>{s => <dl class="facts">
      <div><dt>Layers</dt><dd><Size of={s.objects.layers.bytes} /></dd></div><div><dt>of them for older versions</dt><dd><Size of={s.objects.superseded_layers.bytes} /></dd></div>
      <div><dt>Segments</dt><dd><Size of={s.objects.segments.bytes} /></dd></div><div><dt>not folded yet</dt><dd><Size of={s.unfolded_segments.bytes} /></dd></div>
      <div><dt>Objects</dt><dd>{format.count(s.objects.manifests.objects + s.objects.layers.objects + s.objects.segments.objects)}</dd></div></dl>}</Shown>
    <div class="row"><button type="button" disabled={act.doing} onClick={() => act.run(async () => {
      setRemoved(undefined)
      setDry((await change<{ removed: Removal[] }>("POST", path("views", id, "retention") + "?dry_run=true")).removed)
    })}>What would the next run remove?</button>
      <Confirm label="Remove now" accessible={`Remove what ${id} needs no more`} title="Remove what no version needs?" done={() => {
        stored.again()
        versions.again()
      }} run={async () => {
        const done = await change<{ removed: Removal[] }>("POST", path("views", id, "retention"))
        setDry(undefined)
        setRemoved(done.removed)
      }} line={`fustor admin retain ${id}`}><p>The compactor does this by itself every now and then. No version that the settings or a pin keep is touched.</p></Confirm></div>
    {act.problem && <Trouble problem={act.problem} />}
    <div role="status">{(dry ?? removed) && <Removals of={(dry ?? removed)!} text={dry ? dry.length === 0 ? "The next run would remove nothing." : `The next run would remove ${format.plural(dry.length, "object", "objects")} of ${format.size(sum(dry))}.` : `Removed ${format.plural(removed!.length, "object", "objects")} of ${format.size(sum(removed!))}.`} />}</div>
    <h3>Versions that are kept</h3>
    <Pin view={id} done={() => versions.again()} />
    <Shown answer={versions}>{data => <div class="scroll" tabIndex={0} role="region" aria-label="Versions"><table class="entries"><thead><tr><th>Version</th><th>Why</th><th class="when">Published</th><th class="when optional">Until</th></tr></thead>
      <tbody>{data.versions.map(v => <tr key={v.version}><td><a href={`${base}/browse/${id}?as_of=${v.version}`}>{format.count(v.version)}</a></td>
        <td class="name">{v.kept?.map(k => keeps[k] ?? k).join(", ")}{v.pins?.map(p => <span class="pin">{v.kept?.length ? " · " : ""}pinned as <b><Name of={ofText(p)} /></b> <Confirm label="Unpin" accessible={`Unpin ${p}`} title={`Unpin ${p}?`} done={() => versions.again()} run={() => change("DELETE", path("views", id, "pins", p))} line={`fustor admin version unpin ${id} ${quote(p)}`}><p>The version goes once nothing else keeps it.</p></Confirm></span>)}{!v.kept?.length && !v.pins?.length && <span class="soft">about to go</span>}</td>
        <td class="when"><When at={v.published_at} /></td><td class="when optional">{v.kept_until ? <When at={v.kept_until} /> : ""}</td></tr>)}</tbody></table></div>}</Shown></section>
}

function Removals({ of, text }: { of: Removal[]; text: string }) {
  const shown = of.slice(0, 100)
  return <><p>{text}</p>{shown.length > 0 && <div class="scroll" tabIndex={0} role="region" aria-label="Objects"><table class="entries"><thead><tr><th>Object</th><th>Why</th><th class="number">Size</th><th class="when optional">Age</th></tr></thead>
    <tbody>{shown.map(r => <tr><td class="name"><Name of={ofText(r.key)} /></td><td>{r.why}</td><td class="number"><Size of={r.bytes} /></td><td class="when optional">{format.span(r.age_seconds)}</td></tr>)}</tbody></table>
    {of.length > shown.length && <p class="soft">and {format.count(of.length - shown.length)} more</p>}</div>}</>
}

function Pin({ view, done }: { view: string; done: () => void }) {
  const [name, setName] = useState(""), [version, setVersion] = useState("")
  const act = useDoing()
  return <form class="row pin-form" onSubmit={async e => {
    e.preventDefault()
    if (await act.run(() => change("PUT", path("views", view, "pins", name) + (version ? `?version=${encodeURIComponent(version)}` : "")))) {
      setName("")
      setVersion("")
      done()
    }
  }}>
    <label class="field">Pin <input type="text" inputMode="numeric" pattern="[0-9]*" value={version} placeholder="the newest" aria-label="Version to pin; empty for the newest" size={10} onInput={e => setVersion(e.currentTarget.value)} /></label>
    <label class="field">as <input value={name} required maxLength={63} placeholder="before-cleanup" aria-label="Name of the pin" autocomplete="off" spellcheck={false} size={16} onInput={e => setName(e.currentTarget.value)} /></label>
    <button type="submit" disabled={act.doing || name === ""}>Pin</button>
    {act.problem && <Trouble problem={act.problem} />}
  </form>
}

function policy(c: Config): string {
  const number = (name: string) => Number(c[name] ?? 0)
  const parts = ["hourly", "daily", "weekly", "monthly", "yearly"].filter(n => number("keep_" + n) !== 0).map(n => `${number("keep_" + n) < 0 ? "all" : format.count(number("keep_" + n))} ${n}`)
  const within = number("keep_within_s")
  return `Every version is kept ${within < 0 ? "for ever" : `for ${format.span(Math.max(3600, within))}`}${parts.length ? `; then ${parts.join(", ")} ones` : ""}.`
}

// ---- cost

interface CostAnswer {
  events_per_second_counted: number | null
  estimate: { workload: { files: number; views: number; agents: number; events_per_second: number; queries_per_day: number }; requests_by: { what: string; times: number; get: number; put: number; list: number; dollars: number }[]; stored_gb: number
    dollars: { requests: number; storage: number; lambda: number; queue: number; transfer: number; total: number; idle_requests: number } }
  prices: { source: string; date: string }
}

const dollars = (n: number) => n > 0 && n < 0.01 ? "< $0.01" : "$" + n.toFixed(2)

function Cost() {
  const [queries, setQueries] = useState("1000"), [events, setEvents] = useState(""), [polling, setPolling] = useState("true")
  const good = /^\d{1,9}$/.test(queries) && /^(\d{1,6}(\.\d+)?)?$/.test(events)
  const answer = useAsk<CostAnswer>(good ? "/admin/cost" : null, { queries, events, polling }, { live: false })
  return <section><h2>Cost</h2>
    <p class="soft">What these views take a month on S3, at list prices without free tiers: an estimate from what they are now, by the model of <code>fustor cost</code>. A store of your own costs what it costs you; the requests are the same.</p>
    <div class="row"><label class="field">Queries a day <input inputMode="numeric" value={queries} size={8} aria-invalid={!good} onInput={e => setQueries(e.currentTarget.value.trim())} /></label>
      <label class="field">Changes a second <input inputMode="decimal" value={events} size={8} placeholder="as counted" aria-invalid={!good} onInput={e => setEvents(e.currentTarget.value.trim())} /></label>
      <label class="field">Parts <select value={polling} onChange={e => setPolling(e.currentTarget.value)}><option value="true">that poll the store</option><option value="false">that the store wakes (Lambda)</option></select></label></div>
    {!good ? <p class="wrong-text" role="alert">Both are numbers: queries up to 999,999,999 a day, changes up to 999,999 a second.</p> : <Shown answer={answer}>{c => {
      const e = c.estimate, w = e.workload
      return <>
        <dl class="facts"><div><dt>A month</dt><dd>{dollars(e.dollars.total)}</dd></div><div><dt>of that at rest</dt><dd>{dollars(e.dollars.idle_requests)}</dd></div><div><dt>Requests</dt><dd>{dollars(e.dollars.requests)}</dd></div>
          <div><dt>Storage ({format.size(e.stored_gb * 1e9)})</dt><dd>{dollars(e.dollars.storage)}</dd></div><div><dt>Transfer</dt><dd>{dollars(e.dollars.transfer)}</dd></div>{e.dollars.lambda + e.dollars.queue > 0 && <div><dt>Lambda, queue</dt><dd>{dollars(e.dollars.lambda + e.dollars.queue)}</dd></div>}</dl>
        <p>{format.plural(w.views, "view", "views")}, {format.plural(w.files, "entry", "entries")}, {format.plural(w.agents, "live agent", "live agents")}, {w.events_per_second.toPrecision(2)} changes a second{events === "" && (c.events_per_second_counted === null ? " (nothing is counted yet)" : w.agents === 0 ? " (no agent lives)" : ", as counted over the last day at most")}.</p>
        <div class="scroll" tabIndex={0} role="region" aria-label="Requests"><table class="entries"><thead><tr><th>Requests a month</th><th class="number optional">Times</th><th class="number">GET</th><th class="number">PUT</th><th class="number optional">LIST</th><th class="number">Cost</th></tr></thead>
          <tbody>{e.requests_by.filter(l => l.times > 0).sort((a, b) => b.dollars - a.dollars).map(l => <tr><td class="name">{l.what}</td><td class="number optional">{format.count(Math.round(l.times))}</td><td class="number">{format.count(Math.round(l.get))}</td><td class="number">{format.count(Math.round(l.put))}</td><td class="number optional">{format.count(Math.round(l.list))}</td><td class="number">{dollars(l.dollars)}</td></tr>)}</tbody></table></div>
        <p class="soft">Prices: {c.prices.source}, {c.prices.date}.</p>
        <Shell line={`fustor cost --files ${w.files} --views ${Math.max(1, w.views)} --agents ${w.agents} --events ${w.events_per_second} --queries ${w.queries_per_day}${polling === "true" ? " --polling" : ""}`} />
      </>
    }}</Shown>}</section>
}
