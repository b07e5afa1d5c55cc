// Paths are bytes, and not all bytes are text. Here a path is a string with one character a byte (0–255), from the view's root on, "/" for
// the root. What is shown, sent and copied is made from that, so that no name is changed on the way.

export type Path = string

const utf8 = new TextEncoder()
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const lenient = new TextDecoder("utf-8", { ignoreBOM: true })

const bytesOf = (p: Path) => Uint8Array.from(p, c => c.charCodeAt(0))
const ofBytes = (bytes: Uint8Array) => Array.from(bytes, b => String.fromCharCode(b)).join("")

/** ofText is the path of a text. */
export const ofText = (text: string): Path => ofBytes(utf8.encode(text))

/** ofFields is a path as the API has it: as text, and as base64url where the text is not exact. */
export function ofFields(text: string, b64?: string): Path {
  return b64 ? atob(b64.replaceAll("-", "+").replaceAll("_", "/")) : ofText(text)
}

/** exactText is the path as text, or null if its bytes are none. */
export function exactText(p: Path): string | null {
  try {
    return strict.decode(bytesOf(p))
  } catch {
    return null
  }
}

/** readable is the path as text, with U+FFFD for what is none. */
export const readable = (p: Path) => lenient.decode(bytesOf(p))

/** params are the parameters of a call that name a path. */
export function params(p: Path): Record<string, string> {
  const text = exactText(p)
  return text !== null ? { path: text } : { path_b64: btoa(p).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "") }
}

/** toURL is the path in an address; fromURL reads it. */
export const toURL = (p: Path) => p.replace(/[^A-Za-z0-9\-._~/]/g, c => "%" + c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0"))
export const fromURL = (url: string): Path => clean(ofText(url).replace(/%([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))))

function clean(p: Path): Path {
  return "/" + p.split("/").filter(name => name !== "").join("/")
}

export const parentOf = (p: Path): Path => p.slice(0, p.lastIndexOf("/")) || "/"
export const nameOf = (p: Path): Path => p.slice(p.lastIndexOf("/") + 1)
export const join = (directory: Path, name: Path): Path => (directory === "/" ? "" : directory) + "/" + name
export const isBelow = (p: Path, directory: Path) => directory === "/" || p === directory || p.startsWith(directory + "/")

/** A part of a name as it is shown: text, or an escape sequence for what readers cannot see or would misread. */
export interface Part { text: string; raw: boolean }

const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u

/** parts splits a name into text and escapes: bytes that are no text, control characters, marks that turn the direction of writing. */
export function parts(name: Path): Part[] {
  const out: Part[] = []
  const add = (text: string, raw: boolean) => {
    const last = out.at(-1)
    if (!raw && last && !last.raw) last.text += text
    else out.push({ text, raw })
  }
  for (let i = 0; i < name.length;) {
    const lead = name.charCodeAt(i)
    const n = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1
    const char = lead < 0x80 ? name[i]! : exactText(name.slice(i, i + n))
    if (char === null || char === undefined || [...char].length !== 1) {
      add("\\x" + hex(lead, 2), true)
      i++
      continue
    }
    if (printable.test(char)) add(char, false)
    else add(escape(char), true)
    i += n
  }
  return out
}

function escape(char: string): string {
  const code = char.codePointAt(0)!
  if (char === "\n") return "\\n"
  if (char === "\t") return "\\t"
  return code < 0x80 ? "\\x" + hex(code, 2) : "\\u" + hex(code, 4)
}

const hex = (n: number, digits: number) => n.toString(16).padStart(digits, "0")

/** oneLine is a name in one line of plain text. */
export const oneLine = (p: Path) => parts(p).map(part => part.text).join("")

/** quoted is a path as a shell takes it, byte for byte. */
export function quoted(p: Path): string {
  const text = exactText(p)
  if (text !== null && parts(p).every(part => !part.raw)) {
    return /^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", `'\\''`) + "'"
  }
  return "$'" + p.replace(/[^\x20-\x7e]|['\\]/g, c => c === "'" || c === "\\" ? "\\" + c : "\\x" + hex(c.charCodeAt(0), 2)) + "'"
}
