// Package leasemodel is what the answers about a view's lease may be, for porcupine: histories of the code on a faulty store
// (internal/session), and of the processes (testkit/e2e).
package leasemodel

import "github.com/anishathalye/porcupine"

// state is what the lease is, as the model has it.
type state struct {
	term   uint64
	holder string // empty: nobody
	yields bool   // a follower has found the holder silent: it leads no more
}

// Input is a call of a session.
type Input struct {
	Kind    string // create, beat, blocked (a heartbeat of a session that gets nothing done), pause or end
	Session string
}

// Output is what it was answered.
type Output struct {
	Unknown bool // nobody knows whether it was done, or will be: the operation has no end
	Gone    bool // there is no such session
	Leads   bool
	Term    uint64
}

// Model is what the answers of a lease may be, in some order that keeps to real time: a new leader has the next term,
// and no one else is told that it leads. When a lease runs out is the clock's business, so it may at any time.
// A holder that gets nothing done may be told that it follows, after another session's heartbeat, and then never leads again in that term.
var Model = (&porcupine.NondeterministicModel{
	Init:  func() []any { return []any{state{}} },
	Equal: func(a, b any) bool { return a == b },
	Step: func(s, in, out any) []any {
		is, i, o := s.(state), in.(Input), out.(Output)
		mine := is.holder == i.Session
		released := state{term: is.term}
		yields := is
		yields.yields = true
		claims := !mine && is.holder != "" && (i.Kind == "beat" || i.Kind == "blocked")
		switch {
		case o.Unknown && (i.Kind == "end" || i.Kind == "pause") || o.Gone:
			if mine {
				return []any{is, released}
			}
			return []any{is}
		case o.Unknown && claims:
			return []any{is, yields, state{term: is.term + 1, holder: i.Session}}
		case o.Unknown:
			return []any{is, state{term: is.term + 1, holder: i.Session}}
		case i.Kind == "end":
			if mine {
				return []any{released}
			}
			return []any{is}
		case mine && is.yields && !o.Leads && o.Term == is.term && i.Kind != "beat":
			return []any{is}
		case mine && is.yields && o.Term == is.term:
			return nil
		case i.Kind == "pause" && mine && !o.Leads && o.Term == is.term:
			return []any{released}
		case i.Kind == "pause" && o.Leads: // who is paused leads nothing
			return nil
		case o.Leads && o.Term == is.term+1:
			return []any{state{term: o.Term, holder: i.Session}}
		case claims && !o.Leads && o.Term == is.term:
			return []any{is, yields}
		case o.Leads && mine && o.Term == is.term, !o.Leads && !mine && o.Term <= is.term:
			return []any{is}
		}
		return nil
	},
}).ToModel()
