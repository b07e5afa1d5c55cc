// The search box speaks the language of `fustor search`: a pattern, and flags behind it. In an address and in calls, the flags are the
// parameters of the same names.

export type Filters = Record<string, string[]>

/** Flag is a flag of `fustor search`, and the parameter of the API that it becomes. */
interface Flag { name: string; value: string; means: string }

export const flags: Flag[] = [
  { name: "type", value: "f|d|l|o", means: "only files, directories, symlinks or others" },
  { name: "min-size", value: "10M", means: "at least this size" },
  { name: "max-size", value: "1GiB", means: "at most this size" },
  { name: "newer-than", value: "7d", means: "modified after: 2h, 7d, 3mo or 1y ago, yesterday, 2024-05-01" },
  { name: "older-than", value: "1y", means: "modified before" },
  { name: "owner", value: "alice", means: "owned by this user: a name or a uid" },
  { name: "group", value: "users", means: "of this group: a name or a gid" },
  { name: "name", value: "'*.bam'", means: "the name matches this glob, or one of several" },
  { name: "not-name", value: "'*.tmp'", means: "the name does not match this glob" },
  { name: "regex", value: "'.*/run[0-9]+'", means: "the whole path matches this regular expression (RE2)" },
  { name: "empty", value: "", means: "files of size 0, and directories with nothing in them" },
  { name: "perm", value: "/022", means: "of this mode: 644 exactly, -4000 all of these bits, /022 any of them" },
  { name: "links", value: "+1", means: "so many links: 1, +1 for more, -2 for fewer" },
  { name: "inode", value: "N", means: "the names of one file that has several" },
  { name: "min-allocated", value: "1G", means: "occupies at least this on the disk" },
  { name: "max-allocated", value: "1G", means: "occupies at most this on the disk" },
  { name: "changed-after", value: "7d", means: "changed (ctime) after" },
  { name: "changed-before", value: "7d", means: "changed (ctime) before" },
  { name: "born-after", value: "7d", means: "made after" },
  { name: "born-before", value: "7d", means: "made before" },
  { name: "accessed-after", value: "7d", means: "read on that day (UTC) or later" },
  { name: "accessed-before", value: "1y", means: "last read before that day (UTC)" },
]

/** filterNames are the parameters that filters become. */
export const filterNames = [...flags.map(f => f.name.replaceAll("-", "_")).filter(n => n !== "links"), "min_links", "max_links"]

const repeated = new Set(["name", "not_name"])

export interface Question { pattern: string; filters: Filters }

/** words splits a text as a shell does, as far as patterns need it. */
function words(text: string): { word: string; quoted: boolean }[] {
  const out: { word: string; quoted: boolean }[] = []
  const one = /'([^']*)'?|"((?:\\.|[^"\\])*)"?|\\(.)|([^\s'"\\]+)|\\$/gy
  let i = 0
  while (i < text.length) {
    if (/\s/.test(text[i]!)) {
      i++
      continue
    }
    let word = "", quoted = false
    while (i < text.length && !/\s/.test(text[i]!)) {
      one.lastIndex = i
      const m = one.exec(text)
      if (!m) break
      if (m[1] !== undefined || m[2] !== undefined) quoted = true
      // A backslash stays: in a glob it makes the next character a plain one.
      word += m[1] ?? m[2]?.replace(/\\(["\\])/g, "$1") ?? (m[3] !== undefined ? "\\" + m[3] : m[4] ?? "\\")
      i = one.lastIndex
    }
    out.push({ word, quoted })
  }
  return out
}

/** parse reads the box. wrong says what it cannot read. */
export function parse(text: string): Question & { wrong: string } {
  const pattern: string[] = [], filters: Filters = {}
  let wrong = ""
  const given = words(text)
  for (let i = 0; i < given.length; i++) {
    const { word, quoted } = given[i]!
    if (quoted && !word.startsWith("--") || !word.startsWith("--") || word === "--") {
      if (word !== "--") pattern.push(word)
      continue
    }
    const eq = word.indexOf("=")
    const flag = word.slice(2, eq < 0 ? undefined : eq)
    const known = flags.find(f => f.name === flag)
    if (!known) {
      wrong ||= `There is no --${flag}; press ? for the flags.`
      continue
    }
    let value = eq < 0 ? "" : word.slice(eq + 1)
    if (flag === "empty") value ||= "true"
    else if (eq < 0) {
      if (i + 1 >= given.length) {
        wrong ||= `--${flag} needs a value, such as ${known.value}.`
        continue
      }
      value = given[++i]!.word
    }
    if (flag === "links") {
      const [sign, n] = [/^[+-]/.exec(value)?.[0], Number(value.replace(/^[+-]/, ""))]
      if (sign !== "-") filters.min_links = [String(sign === "+" ? n + 1 : n)]
      if (sign !== "+") filters.max_links = [String(sign === "-" ? n - 1 : n)]
      continue
    }
    const name = flag.replaceAll("-", "_")
    filters[name] = repeated.has(name) ? [...filters[name] ?? [], value] : [value]
  }
  return { pattern: pattern.join(" "), filters, wrong }
}

/** write is what parse reads. */
export function write(q: Question): string {
  return [q.pattern.includes("'") || q.pattern.startsWith("--") ? quote(q.pattern) : q.pattern, ...flagsOf(q.filters)].filter(s => s !== "").join(" ")
}

/** flagsOf are the flags of the command for filters, quoted for a shell. */
export function flagsOf(filters: Filters): string[] {
  return Object.entries(filters).flatMap(([name, values]) => values.map(value => {
    if (name === "empty") return "--empty"
    if (name === "min_links" || name === "max_links") {
      const [low, high] = [filters.min_links?.[0], filters.max_links?.[0]]
      if (low !== undefined && low === high) return name === "min_links" ? `--links ${low}` : ""
      return name === "min_links" ? `--links +${Number(low) - 1}` : `--links=-${Number(high) + 1}`
    }
    const flag = "--" + name.replaceAll("_", "-")
    return value.startsWith("-") ? `${flag}=${quote(value)}` : `${flag} ${quote(value)}`
  })).filter(s => s !== "")
}

export const quote = (value: string) => /^[\w@%+=:,./-]+$/.test(value) ? value : "'" + value.replaceAll("'", `'\\''`) + "'"

export const isEmpty = (f: Filters) => Object.keys(f).length === 0

/** needle is what of a pattern can be seen in names: its plain text, or the longest plain part of a glob. */
export function needle(pattern: string): string {
  const last = pattern.slice(pattern.lastIndexOf("/") + 1)
  return last.split(/[*?\[\]{},\\]/).reduce((longest, part) => part.length > longest.length ? part : longest, "")
}
