package egress_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/yare-io/yare/apiserver/egress"
)

func TestWhereNothingMayBe(t *testing.T) {
	own := netip.MustParseAddrPort("192.0.2.10:6443")
	g := egress.Guard{
		Own:   func(to netip.AddrPort) bool { return to == own },
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
	}
	for address, allowed := range map[string]bool{
		"192.0.2.20:443": true, "10.96.0.20:443": true, "[2001:db8::1]:443": true, "192.0.2.10:8443": true, "127.0.0.2:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "[::ffff:127.0.0.1]:443": false, "0.0.0.0:443": false, "[::]:443": false,
		"169.254.169.254:80": false, "[fe80::1%eth0]:443": false, "[::ffff:169.254.169.254]:80": false, "[fd00:ec2::254]:80": false,
		"100.100.100.200:80": false, "224.0.0.1:443": false, "192.0.2.10:6443": false, "[::ffff:192.0.2.10]:6443": false,
		"[64:ff9b::169.254.169.254]:80": false, "[64:ff9b::127.0.0.1]:443": false, "[64:ff9b::192.0.2.20]:443": true,
	} {
		if err := g.Check(netip.MustParseAddrPort(address)); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestCVE20208562NamesAreCheckedWhenTheyAreConnectedTo: a name server that
// answers with a good address to whoever checks, and with this machine's to
// whoever connects, gains nothing.
func TestCVE20208562NamesAreCheckedWhenTheyAreConnectedTo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	names := rebinding(t, [4]byte{192, 0, 2, 1}, [4]byte{127, 0, 0, 1})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", names)
	}}
	checked, err := resolver.LookupNetIP(t.Context(), "ip4", "rebound.example.com.")
	if err != nil || (egress.Guard{}).Check(netip.AddrPortFrom(checked[0], 443)) != nil {
		t.Fatalf("the first answer is a good one: %v, %v", checked, err)
	}
	dialer := egress.Guard{Flag: "allowed-networks"}.Dialer()
	dialer.Resolver = resolver
	conn, err := dialer.DialContext(t.Context(), "tcp4", "rebound.example.com.:"+port)
	if err == nil {
		_ = conn.Close()
		t.Fatal("connected to this machine")
	}
	if !strings.Contains(err.Error(), "is a loopback address; --allowed-networks can allow it") {
		t.Error(err)
	}
}

// rebinding is a name server that gives each address once, and the last for
// ever.
func rebinding(t *testing.T, addresses ...[4]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		packet := make([]byte, 512)
		for next := 0; ; {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return // closed
			}
			address := addresses[min(next, len(addresses)-1)]
			answer, ok := answerTo(packet[:n], address)
			if ok {
				next++
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return conn.LocalAddr().String()
}

// answerTo answers a DNS query (RFC 1035, section 4) for an IPv4 address, and
// says that nothing is known to any other.
func answerTo(query []byte, address [4]byte) (answer []byte, ok bool) {
	const header, typeAndClass = 12, 4
	end := header + bytes.IndexByte(query[header:], 0) + 1
	ok = query[end+1] == 1 // type A
	answer = append(answer, query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	answer = append(answer, query[header:end+typeAndClass]...)
	if ok {
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		answer = append(answer, address[:]...)
	}
	return answer, ok
}
