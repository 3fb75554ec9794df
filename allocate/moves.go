package allocate

import "slices"

// compare counts what has moved since the last assignment, and shares with it what is the same.
func (a *Assignment) compare(last *Assignment) {
	remap := namesakes(last.Members, a.Members)
	back := namesakes(a.Members, last.Members)
	still := slices.Equal(last.Members, a.Members)
	shared := make([]bool, len(a.units))
	fresh := map[int32]bool{} // jobs with blocks that were not there
	for x := range a.units {
		u := &a.units[x]
		old := last.unit(u.block)
		if old == nil {
			fresh[u.job] = true
			continue
		}
		if still && slices.Equal(u.owners, old.owners) {
			u.owners = old.owners
			shared[x] = true
			continue
		}
		for i, n := range u.owners {
			o := old.owners[i]
			if o >= 0 && n >= 0 && remap[o] >= 0 && remap[o] != n && back[n] >= 0 {
				a.Moved++
			}
		}
	}
	if len(fresh) > 0 {
		a.compareJobs(last, fresh, remap, back)
	}
	if !slices.Contains(shared, true) {
		return
	}
	// What is left gets memory of its own, so that a few blocks do not hold on to that of all.
	for x := range a.units {
		if !shared[x] {
			a.units[x].owners = slices.Clone(a.units[x].owners)
		}
	}
}

// compareJobs counts moves by identity, where blocks have changed.
func (a *Assignment) compareJobs(last *Assignment, jobs map[int32]bool, remap, back []int32) {
	names := make(map[string]int32, len(last.jobs))
	for j, job := range last.jobs {
		names[job.Name] = int32(j)
	}
	for j := range jobs {
		then, ok := names[a.jobs[j].Name]
		if !ok {
			continue
		}
		owners := map[uint64]int32{}
		for x := last.first[then]; x < last.first[then+1]; x++ {
			u := &last.units[x]
			if _, ok := a.index[u.block]; ok {
				continue
			}
			for i, id := range u.block.IDs() {
				owners[id] = u.owners[i]
			}
		}
		for x := a.first[j]; x < a.first[j+1]; x++ {
			u := &a.units[x]
			if last.unit(u.block) != nil {
				continue
			}
			for i, id := range u.block.IDs() {
				o, ok := owners[id]
				n := u.owners[i]
				if ok && o >= 0 && n >= 0 && remap[o] >= 0 && remap[o] != n && back[n] >= 0 {
					a.Moved++
				}
			}
		}
	}
}

// namesakes finds the index in b of each member of a by its name, or Nobody. Both are sorted.
func namesakes(a, b []Member) []int32 {
	out := make([]int32, len(a))
	n := 0
	for i := range a {
		for n < len(b) && b[n].Name < a[i].Name {
			n++
		}
		out[i] = Nobody
		if n < len(b) && b[n].Name == a[i].Name {
			out[i] = int32(n)
		}
	}
	return out
}
