package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
)

// tokenLifetime is what a token lives if the pod does not say.
const tokenLifetime = time.Hour

// projected gathers several sources in one directory.
func (m *Manager) projected(ctx context.Context, r Request, v *v1.Volume) (Mounted, error) {
	mode := modeOr(v.Projected.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
	files := map[string]File{}
	var failed []error
	for i := range v.Projected.Sources {
		part, err := m.projection(ctx, r, &v.Projected.Sources[i], mode)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		maps.Copy(files, part)
	}
	if len(failed) > 0 {
		return Mounted{}, errors.Join(failed...)
	}
	path := m.dir(r.Pod, "projected", v.Name)
	if err := m.inMemory(path); err != nil {
		return Mounted{}, err
	}
	return Mounted{Path: path, ReadOnly: true}, Write(path, files, fsGroup(r.Pod))
}

func (m *Manager) projection(ctx context.Context, r Request, p *v1.VolumeProjection, mode int32) (map[string]File, error) {
	switch {
	case p.Secret != nil:
		return m.secretFiles(ctx, r.Pod, p.Secret.Name, p.Secret.Items, mode, isTrue(p.Secret.Optional))
	case p.ConfigMap != nil:
		return m.configMapFiles(ctx, r.Pod, p.ConfigMap.Name, p.ConfigMap.Items, mode, isTrue(p.ConfigMap.Optional))
	case p.DownwardAPI != nil:
		return m.downwardFiles(r, p.DownwardAPI.Items, mode)
	case p.ServiceAccountToken != nil:
		return m.token(ctx, r.Pod, p.ServiceAccountToken, mode)
	case p.ClusterTrustBundle != nil:
		return nil, fmt.Errorf("clusterTrustBundle projections are not supported on this node")
	}
	return nil, fmt.Errorf("such projections are not supported on this node")
}

// token writes a service account token. If all containers run as one user, it alone may read it; with an
// fsGroup the group may too; else everyone in the pod.
func (m *Manager) token(ctx context.Context, pod *v1.Pod, p *v1.ServiceAccountTokenProjection, mode int32) (map[string]File, error) {
	lifetime := tokenLifetime
	if p.ExpirationSeconds != nil {
		lifetime = time.Duration(*p.ExpirationSeconds) * time.Second
	}
	token, err := m.Tokens.Token(ctx, pod, p.Audience, lifetime)
	if err != nil {
		return nil, fmt.Errorf("failed to fetch token: %w", err)
	}
	file := File{Data: []byte(token), Mode: 0o600}
	switch uid := commonUser(pod); {
	case fsGroup(pod) != nil:
	case uid != nil:
		file.UID = uid
	default:
		file.Mode = 0o644
	}
	return map[string]File{p.Path: file}, nil
}

// commonUser returns the user all containers are told to run as, or nil.
func commonUser(pod *v1.Pod) *int64 {
	var podUser, common *int64
	if sc := pod.Spec.SecurityContext; sc != nil {
		podUser = sc.RunAsUser
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			user := podUser
			if sc := list[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				user = sc.RunAsUser
			}
			if user == nil || (common != nil && *common != *user) {
				return nil
			}
			common = user
		}
	}
	return common
}
