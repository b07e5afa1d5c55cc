// The page follows the view by its feed of changes, as server-sent events, and so shows what is new without a reload.
import { useEffect, useState } from "preact/hooks"
import type { Place } from "./address"
import { callURL } from "./api"
import { params } from "./paths"

const atMostEvery = 2000
const tooMany = 2000 // changes on one connection: then it looks again every ten seconds instead
const pollEvery = 10_000
const tryAgainAfter = 30_000 // a feed that was refused: by a proxy while the server restarts, or as nobody may have more

/** useLive calls changed when something at or below the place has changed, and says how it knows: "live", "polling", "paused" or "then". */
export function useLive(place: Place, forest: boolean, changed: () => void): string {
  const [state, set] = useState("connecting")
  const [visible, setVisible] = useState(!document.hidden)
  useEffect(() => { // browsers allow six connections to a server, so a tab that nobody sees holds none
    const on = () => setVisible(!document.hidden)
    document.addEventListener("visibilitychange", on)
    return () => document.removeEventListener("visibilitychange", on)
  }, [])
  useEffect(() => {
    if (place.show === "admin") return set("") // it shows no view
    if (place.asOf) return set("earlier version")
    if (!visible) return set("paused")
    let feed: EventSource | undefined, timer = 0, retry = 0, pending = 0, last = Date.now(), seen = 0
    const soon = () => {
      pending ||= window.setTimeout(() => {
        pending = 0
        last = Date.now()
        changed()
      }, Math.max(200, last + atMostEvery - Date.now()))
    }
    const poll = () => {
      set("polling")
      clearInterval(timer)
      timer = window.setInterval(changed, pollEvery)
    }
    const connect = () => {
      feed = new EventSource(callURL(place.view, "changes", params(place.show === "state" ? "/" : place.path)))
      feed.addEventListener("open", () => {
        clearInterval(timer)
        set("live")
        if (retry) soon() // what changed in between
      })
      feed.addEventListener("version", e => (JSON.parse(e.data) as { changes?: number }).changes && soon())
      feed.addEventListener("change", () => {
        soon()
        if (++seen > tooMany) {
          feed!.close()
          poll()
        }
      })
      feed.addEventListener("error", () => {
        if (feed!.readyState !== EventSource.CLOSED) return set("connecting")
        feed!.close()
        poll()
        retry = window.setTimeout(connect, tryAgainAfter)
      })
    }
    if (forest) poll()
    else connect()
    return () => {
      feed?.close()
      clearInterval(timer)
      clearTimeout(retry)
      clearTimeout(pending)
    }
  }, [place.view, place.path, place.show === "state", place.show === "admin", place.asOf, forest, visible])
  return state
}
