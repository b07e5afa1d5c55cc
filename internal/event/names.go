package event

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

// OwnerName is what a host's name service calls a user or a group.
type OwnerName struct {
	Group      bool // ID is a gid; otherwise a uid
	ID         uint32
	Name       string // ValidOwnerName
	ResolvedAt int64  // ns, the store's time
}

const (
	// MaxOwnerName bounds a name, in bytes; MaxOwnerNames the names of a segment.
	MaxOwnerName  = 256
	MaxOwnerNames = 1 << 17
	// namesPerRecord keeps a record below MaxBlockBytes.
	namesPerRecord = 2048
)

// ValidOwnerName reports whether a name can be shown: 1 to MaxOwnerName bytes of UTF-8 without control characters. Of others the number
// is shown.
func ValidOwnerName(name string) bool {
	if name == "" || len(name) > MaxOwnerName || !utf8.ValidString(name) {
		return false
	}
	for _, c := range name {
		if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) { // Cf: what changes the direction of text, or cannot be seen
			return false
		}
	}
	return true
}

// AddNames appends names of owners. Names that are not valid are left out. ErrFull, as of Add, adds none.
func (s *Writer) AddNames(names []OwnerName) error {
	if s.err != nil {
		return s.err
	}
	if len(names) > MaxOwnerNames-s.names || !s.fits(len(names)*(MaxOwnerName+32), 0) {
		return ErrFull
	}
	if err := s.finish(); err != nil { // the block's listing may have begun in the one before
		return err
	}
	for len(names) > 0 {
		n := min(namesPerRecord, len(names))
		record, before := &segmentpb.Names{}, int64(0)
		for _, name := range names[:n] {
			if !ValidOwnerName(name.Name) {
				continue
			}
			record.Groups = append(record.Groups, name.Group)
			record.Ids = append(record.Ids, name.ID)
			record.Names = append(record.Names, []byte(name.Name))
			record.ResolvedAtNsDeltas = append(record.ResolvedAtNsDeltas, name.ResolvedAt-before)
			before = name.ResolvedAt
		}
		names = names[n:]
		if len(record.Ids) == 0 {
			continue
		}
		s.names += len(record.Ids)
		if err := s.writeRecord(&segmentpb.Record{Record: &segmentpb.Record_Names{Names: record}}); err != nil {
			return err
		}
	}
	return nil
}

// Names is how many names of owners the segment has so far.
func (s *Writer) Names() int { return s.names }

// Names are the names of owners in the segment, once Next has returned io.EOF. They may be kept.
func (s *Reader) Names() []OwnerName { return s.names }

func (s *Reader) takeNames(payload []byte) error {
	if s.missing > 0 {
		return errors.New("names of owners within a listing")
	}
	var pb segmentpb.Names
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(payload, &pb); err != nil {
		return fmt.Errorf("names of owners that are not valid: %w", err)
	}
	n := len(pb.Ids)
	if len(pb.Groups) != n || len(pb.Names) != n || len(pb.ResolvedAtNsDeltas) != n {
		return errors.New("the columns of names of owners differ in length")
	}
	if n > MaxOwnerNames-len(s.names) {
		return fmt.Errorf("more than %d names of owners", MaxOwnerNames)
	}
	at := int64(0)
	for i := range n {
		at += pb.ResolvedAtNsDeltas[i]
		name := string(pb.Names[i])
		if !ValidOwnerName(name) {
			return fmt.Errorf("the name of owner %d is not valid", pb.Ids[i])
		}
		s.names = append(s.names, OwnerName{pb.Groups[i], pb.Ids[i], name, at})
	}
	return nil
}
