// Package evidence decides what a view shows: the rules by which events, strong and weak, change the rows of a view.
//
// Everything here is a pure function of its arguments: no I/O, no clock, no logger, no globals. Times are ns in the
// store's clock unless a name says otherwise. The rules are those of docs/concepts.md; the compactor is the only caller.
package evidence
