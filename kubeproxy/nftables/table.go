package nftables

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"sigs.k8s.io/knftables"

	"github.com/yare-io/yare/kubeproxy/model"
)

// table is one family's table in the kernel, and what we know to be in it.
type table struct {
	nft      knftables.Interface
	renderer renderer
	mark     uint32

	installed map[model.Key]objects
	claims    claims
	// values are the elements in the kernel.
	values map[element]string
	// networks are the rules in the kernel for what no service has.
	networks []string
}

// reset replaces the whole table by one for these rules.
func (t *table) reset(ctx context.Context, rules []model.Rule, around model.Surroundings) error {
	t.networks = nil
	t.installed, t.claims, t.values = map[model.Key]objects{}, claims{}, map[element]string{}
	tx := t.nft.NewTransaction()
	t.begin(tx)
	var d difference
	for i := range rules {
		t.set(&d, rules[i].Key, t.renderer.render(&rules[i]))
	}
	t.setNodeAddrs(&d, around.NodeAddrs)
	t.setServiceNetworks(&d, around.ServiceNetworks)
	t.commit(tx, &d)
	return t.nft.Run(ctx, tx)
}

// apply changes only what the changes need. After an error the table's content
// is not known, and only reset may follow.
func (t *table) apply(ctx context.Context, changes []model.Change, around model.Surroundings) error {
	var d difference
	for _, change := range changes {
		next := objects{}
		if change.New != nil {
			next = t.renderer.render(change.New)
		}
		t.set(&d, change.Key(), next)
	}
	t.setNodeAddrs(&d, around.NodeAddrs)
	t.setServiceNetworks(&d, around.ServiceNetworks)
	tx := t.nft.NewTransaction()
	t.commit(tx, &d)
	if tx.NumOperations() == 0 {
		return nil
	}
	return t.nft.Run(ctx, tx)
}

// difference collects what a transaction must do.
type difference struct {
	newSets   map[string]int
	newChains map[string][]string
	oldChains []string
	flush     map[string][]string
	oldSets   []string
	touched   map[element]struct{}
	ready     bool
}

func (d *difference) init() {
	if !d.ready {
		*d = difference{newSets: map[string]int{}, newChains: map[string][]string{}, flush: map[string][]string{}, touched: map[element]struct{}{}, ready: true}
	}
}

// set notes the way from what is installed for the key to next.
func (t *table) set(d *difference, key model.Key, next objects) {
	d.init()
	old := t.installed[key]
	for name, rules := range next.chains {
		before, exists := old.chains[name]
		switch {
		case !exists:
			d.newChains[name] = rules
		case !slices.Equal(before, rules):
			d.flush[name] = rules
		}
	}
	for name := range old.chains {
		if _, stays := next.chains[name]; !stays {
			d.oldChains = append(d.oldChains, name)
		}
	}
	for name, seconds := range next.affinity {
		if _, exists := old.affinity[name]; !exists {
			d.newSets[name] = seconds
		}
	}
	for name := range old.affinity {
		if _, stays := next.affinity[name]; !stays {
			d.oldSets = append(d.oldSets, name)
		}
	}
	t.claim(d, key, old.elements, next.elements)
	if next.chains == nil {
		delete(t.installed, key)
		return
	}
	t.installed[key] = next
}

func (t *table) claim(d *difference, key model.Key, old, next map[element]string) {
	for e := range old {
		if _, stays := next[e]; !stays {
			t.claims.claim(e, key, "", false)
			d.touched[e] = struct{}{}
		}
	}
	for e, value := range next {
		if before, exists := old[e]; !exists || before != value {
			t.claims.claim(e, key, value, true)
			d.touched[e] = struct{}{}
		}
	}
}

// setNodeAddrs makes node ports answer on these addresses and no others.
func (t *table) setNodeAddrs(d *difference, addrs []netip.Addr) {
	d.init()
	node := model.Key{}
	wanted := map[element]string{}
	for _, addr := range addrs {
		wanted[element{nodePortIPs, addr.String()}] = ""
	}
	old := t.installed[node].elements
	t.claim(d, node, old, wanted)
	t.installed[node] = objects{elements: wanted}
}

// setServiceNetworks makes what is sent to addresses there that no service has
// vanish.
func (t *table) setServiceNetworks(d *difference, networks []netip.Prefix) {
	d.init()
	var rules []string
	for _, network := range networks {
		rules = append(rules, t.renderer.ip+" daddr "+network.String()+" drop")
	}
	if !slices.Equal(rules, t.networks) {
		d.flush[unallocatedChain], t.networks = rules, rules
	}
}

// commit writes the difference in an order in which nothing refers to what is
// not there.
func (t *table) commit(tx *knftables.Transaction, d *difference) {
	address := t.addressType()
	for _, name := range sortedKeys(d.newSets) {
		tx.Add(&knftables.Set{Name: name, Type: address, Flags: []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag},
			Timeout: knftables.PtrTo(time.Duration(d.newSets[name]) * time.Second)})
	}
	for _, name := range sortedKeys(d.newChains) {
		tx.Add(&knftables.Chain{Name: name})
	}
	for _, name := range sortedKeys(d.newChains) {
		addRules(tx, name, d.newChains[name])
	}
	for _, name := range sortedKeys(d.flush) {
		tx.Flush(&knftables.Chain{Name: name})
		addRules(tx, name, d.flush[name])
	}
	t.commitElements(tx, d)
	slices.Sort(d.oldChains)
	for _, name := range d.oldChains {
		tx.Flush(&knftables.Chain{Name: name})
	}
	for _, name := range d.oldChains {
		tx.Delete(&knftables.Chain{Name: name})
	}
	for _, name := range slices.Sorted(slices.Values(d.oldSets)) {
		tx.Delete(&knftables.Set{Name: name})
	}
}

// commitElements takes old values out before it puts new ones in, since an
// element cannot be overwritten.
func (t *table) commitElements(tx *knftables.Transaction, d *difference) {
	touched := slices.SortedFunc(maps.Keys(d.touched), func(a, b element) int {
		return cmp.Or(cmp.Compare(a.container, b.container), cmp.Compare(a.key, b.key))
	})
	var added []element
	for _, e := range touched {
		before, exists := t.values[e]
		value, wanted := t.claims.owner(e)
		if exists == wanted && before == value {
			continue
		}
		if exists {
			tx.Delete(e.object(before))
			delete(t.values, e)
		}
		if wanted {
			added = append(added, e)
			t.values[e] = value
		}
	}
	for _, e := range added {
		tx.Add(e.object(t.values[e]))
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
