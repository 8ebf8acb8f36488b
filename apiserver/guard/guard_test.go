package guard

import (
	"net/netip"
	"testing"
)

func TestWhereWebhooksMayNotBe(t *testing.T) {
	own := netip.MustParseAddrPort("192.0.2.10:6443")
	g := Guard{
		Own:   func(to netip.AddrPort) bool { return to == own },
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
	}
	for address, allowed := range map[string]bool{
		"192.0.2.20:443": true, "10.96.0.20:443": true, "[2001:db8::1]:443": true, "192.0.2.10:8443": true, "127.0.0.2:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "[::ffff:127.0.0.1]:443": false, "0.0.0.0:443": false, "[::]:443": false,
		"169.254.169.254:80": false, "[fe80::1%eth0]:443": false, "[::ffff:169.254.169.254]:80": false, "[fd00:ec2::254]:80": false,
		"100.100.100.200:80": false, "224.0.0.1:443": false, "192.0.2.10:6443": false, "[::ffff:192.0.2.10]:6443": false,
	} {
		if err := g.check(netip.MustParseAddrPort(address)); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestNamesAreCheckedWhenTheyAreConnectedTo: a name is not looked up once to be
// checked and a second time to be used (DNS rebinding, CVE-2020-8562).
func TestNamesAreCheckedWhenTheyAreConnectedTo(t *testing.T) {
	if conn, err := (Guard{}).Dialer().DialContext(t.Context(), "tcp", "localhost:9"); err == nil {
		_ = conn.Close()
		t.Error("connected to a name of this machine")
	}
	if err := (Guard{}).Dialer().ControlContext(t.Context(), "tcp", "127.0.0.1:9", nil); err == nil {
		t.Error("the address of a socket is not checked")
	}
}
