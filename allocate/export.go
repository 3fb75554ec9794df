package allocate

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// exportVersion is that of the schema of an Export.
const exportVersion = "otelier.io/pool/v1"

// Export is a pool as /pool.json tells it: all that its assignment follows from, and the assignment itself. Targets are there by the
// hashes that place them, without their labels, so it holds no secrets.
type Export struct {
	Version string `json:"version"`
	// Algorithm is that of the process which serves the pool.
	Algorithm  string         `json:"algorithm"`
	Generation uint64         `json:"generation"`
	Rules      ExportRules    `json:"rules"`
	Members    []ExportMember `json:"members"`
	Jobs       []ExportJob    `json:"jobs"`
}

// ExportRules are Rules.
type ExportRules struct {
	Strategy   Strategy `json:"strategy"`
	Tolerance  float64  `json:"tolerance"`
	MaxTargets int      `json:"maxTargets"`
	Zones      bool     `json:"zones"`
}

// ExportMember is a Member.
type ExportMember struct {
	Name     string `json:"name"`
	Seed     string `json:"seed"`
	Node     string `json:"node,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Capacity uint32 `json:"capacity,omitempty"`
}

// ExportJob is a Job without its configuration.
type ExportJob struct {
	Name string `json:"name"`
	// Unknown as in Job.
	Unknown bool           `json:"unknown,omitempty"`
	Targets []ExportTarget `json:"targets"`
}

// ExportTarget is a target: ID and Key are hashes, 16 hexadecimal digits as text. Owner is an index into the members, or Nobody.
type ExportTarget struct {
	ID    Hash   `json:"id"`
	Key   Hash   `json:"key"`
	Class uint8  `json:"class,omitempty"`
	Node  string `json:"node,omitempty"`
	Zone  string `json:"zone,omitempty"`
	Owner int    `json:"owner"`
}

// Hash is written as 16 hexadecimal digits: not every reader of JSON has whole numbers of 64 bits.
type Hash uint64

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	*h = Hash(n)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return appendHash(nil, uint64(h)), nil }

func appendHash(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[n>>shift&0xf])
	}
	return dst
}

// ReadExport reads what /pool.json serves.
func ReadExport(r io.Reader) (*Export, error) {
	e := &Export{}
	if err := json.NewDecoder(r).Decode(e); err != nil {
		return nil, fmt.Errorf("read pool: %w", err)
	}
	if e.Version != exportVersion {
		return nil, fmt.Errorf("read pool: its version is %q, want %q", e.Version, exportVersion)
	}
	for _, j := range e.Jobs {
		for _, t := range j.Targets {
			if t.Owner < Nobody || t.Owner >= len(e.Members) || t.Class > maxClass {
				return nil, fmt.Errorf("read pool: job %q: a target has owner %d of %d and class %d", j.Name, t.Owner, len(e.Members), t.Class)
			}
		}
	}
	return e, nil
}

// Pool is what the export says: arguments for Assigner.Assign. The jobs have no configuration, and their targets no labels.
func (e *Export) Pool() ([]*Job, []Member, Rules) {
	members := make([]Member, len(e.Members))
	for i, m := range e.Members {
		members[i] = Member(m)
	}
	jobs := make([]*Job, len(e.Jobs))
	for i, j := range e.Jobs {
		entries := make([]Entry, len(j.Targets))
		for k, t := range j.Targets {
			entries[k] = Entry{ID: uint64(t.ID), Key: uint64(t.Key), Class: t.Class, Place: Place{Node: t.Node, Zone: t.Zone}}
		}
		jobs[i] = &Job{Name: j.Name, Unknown: j.Unknown, Blocks: []*Block{NewBlock(entries)}}
	}
	return jobs, members, Rules(e.Rules)
}

// Differing is how many targets have another owner in an assignment of the same jobs.
func (e *Export) Differing(a *Assignment) int {
	n := 0
	owners := map[string]map[uint64]int32{}
	for _, job := range a.Jobs() {
		ids := map[uint64]int32{}
		for _, b := range job.Blocks {
			for i, owner := range a.Owners(b) {
				ids[b.IDs()[i]] = owner
			}
		}
		owners[job.Name] = ids
	}
	for _, j := range e.Jobs {
		for _, t := range j.Targets {
			was := ""
			if t.Owner >= 0 {
				was = e.Members[t.Owner].Name
			}
			if is, there := owners[j.Name][uint64(t.ID)]; !there || a.name(is) != was {
				n++
			}
		}
	}
	return n
}

// export answers with an Export, piece by piece.
func (a *answer) export(s *Snapshot) {
	head, err := json.Marshal(Export{
		Version: exportVersion, Algorithm: Algorithm, Generation: s.Generation, Members: exportMembers(s.Assignment.Members),
		Rules: ExportRules{s.strategy(), s.Rules.Tolerance, s.Rules.MaxTargets, s.Rules.Zones}, Jobs: []ExportJob{},
	})
	if err != nil {
		panic(err) // the request fails, and the log says why
	}
	a.send("", -1, func() {
		a.buffer = append(a.buffer, head[:len(head)-len("]}")]...)
		for i, v := range s.views {
			if i > 0 {
				a.buffer = append(a.buffer, ',')
			}
			a.buffer = append(append(a.buffer, "\n"+`{"name":`...), v.quoted...)
			if v.job.Unknown {
				a.buffer = append(a.buffer, `,"unknown":true`...)
			}
			a.buffer = append(a.buffer, `,"targets":[`...)
			if !a.exportTargets(v.job, s.Assignment) {
				return
			}
			a.buffer = append(a.buffer, "]}"...)
		}
		a.buffer = append(a.buffer, "]}\n"...)
	})
}

func exportMembers(members []Member) []ExportMember {
	out := make([]ExportMember, len(members))
	for i, m := range members {
		out[i] = ExportMember(m)
	}
	return out
}

// exportTargets is false when the client has gone away.
func (a *answer) exportTargets(job *Job, of *Assignment) bool {
	first := true
	for _, b := range job.Blocks {
		for i, owner := range of.Owners(b) {
			if !first {
				a.buffer = append(a.buffer, ',')
			}
			first = false
			a.buffer = append(a.buffer, "\n"+`{"id":"`...)
			a.buffer = append(appendHash(a.buffer, b.ids[i]), `","key":"`...)
			a.buffer = append(appendHash(a.buffer, b.keys[i]), '"')
			if class := b.Class(i); class > 0 {
				a.buffer = strconv.AppendUint(append(a.buffer, `,"class":`...), uint64(class), 10)
			}
			place := b.Place(i)
			if place.Node != "" {
				a.buffer = appendQuoted(append(a.buffer, `,"node":`...), place.Node)
			}
			if place.Zone != "" {
				a.buffer = appendQuoted(append(a.buffer, `,"zone":`...), place.Zone)
			}
			a.buffer = append(strconv.AppendInt(append(a.buffer, `,"owner":`...), int64(owner), 10), '}')
			if !a.more() {
				return false
			}
		}
	}
	return true
}
