package authn

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/utils/clock"
)

const (
	defaultTokenTTL  = 10 * time.Second
	tokenCacheTokens = 4096
)

// tokenCache remembers good tokens for a short while. Its keys are keyed
// hashes, so that a dump of memory shows no token and look-up time tells
// nothing of one. Bad tokens are kept apart, if at all: an attacker could push
// good ones out with them.
type tokenCache struct {
	next authenticator.Token
	ttl  time.Duration
	salt [32]byte
	macs sync.Pool
	good *cache.LRUExpireCache
	// bad is nil when bad tokens are asked about each time.
	bad *cache.LRUExpireCache
}

// Remember keeps what an authenticator says of tokens, good and bad ones, for
// as long as ttl; errors are not kept. It is for those that are costly to ask.
func Remember(next authenticator.Token, ttl time.Duration, now clock.PassiveClock) (authenticator.Token, error) {
	c, err := newTokenCache(next, ttl, now)
	if err != nil {
		return nil, err
	}
	c.bad = cache.NewLRUExpireCacheWithClock(tokenCacheTokens, now)
	return c, nil
}

func newTokenCache(next authenticator.Token, ttl time.Duration, now clock.PassiveClock) (*tokenCache, error) {
	c := &tokenCache{next: next, ttl: ttl, good: cache.NewLRUExpireCacheWithClock(tokenCacheTokens, now)}
	if _, err := rand.Read(c.salt[:]); err != nil {
		return nil, fmt.Errorf("salt: %w", err)
	}
	c.macs.New = func() any { return hmac.New(sha256.New, c.salt[:]) }
	return c, nil
}

func (c *tokenCache) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	key := c.key(ctx, token)
	if response, hit := c.good.Get(key); hit {
		return response.(*authenticator.Response), true, nil
	}
	if c.bad != nil {
		if _, hit := c.bad.Get(key); hit {
			return nil, false, nil
		}
	}
	response, ok, err := c.next.AuthenticateToken(ctx, token)
	switch {
	case err != nil:
	case ok:
		c.good.Add(key, response, c.ttl)
	case c.bad != nil:
		c.bad.Add(key, nil, c.ttl)
	}
	return response, ok, err
}

func (c *tokenCache) key(ctx context.Context, token string) [sha256.Size]byte {
	mac := c.macs.Get().(hash.Hash)
	defer c.macs.Put(mac)
	mac.Reset()
	audiences, some := authenticator.AudiencesFrom(ctx)
	fmt.Fprintf(mac, "%t:%d:%s:", some, len(audiences), strings.Join(audiences, "\x00"))
	mac.Write([]byte(token))
	return [sha256.Size]byte(mac.Sum(nil))
}
