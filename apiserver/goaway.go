package apiserver

import (
	"math/rand/v2"
	"net/http"
)

// goAway tells some HTTP/2 clients, at random, to open a new connection for
// their next request, so that they spread over all servers behind a balancer
// again. What runs on the old connection goes on. HTTP/1.1 clients open
// connections often enough by themselves.
func (s *Server) goAway(next http.Handler) http.Handler {
	chance := s.config.GoAwayChance
	if chance == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && rand.Float64() < chance {
			// net/http makes a GOAWAY frame of it.
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
