package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/storage"
)

func (s *Server) handleDelete(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	options, err := s.deleteOptions(r, c)
	if err != nil {
		return err
	}
	wr := newWrite(r.Context(), c, admission.Delete, options, options.DryRun, "")
	obj, gone, err := s.remove(r.Context(), wr, options)
	if err != nil {
		return err
	}
	if gone && !c.res.row.Delete.ReturnObject {
		return s.replyStatus(w, r, a, removedStatus(c, obj))
	}
	code := http.StatusOK
	//nolint:staticcheck // clients that still use it expect this answer
	if !gone && options.OrphanDependents != nil && !*options.OrphanDependents {
		code = http.StatusAccepted
	}
	s.reply(w, r, code, a, fresh{obj})
	return nil
}

// removedStatus tells a client that the object is gone.
func removedStatus(c *call, obj runtime.Object) *metav1.Status {
	details := &metav1.StatusDetails{Name: c.name, Group: c.res.row.Kind.Group, Kind: c.res.row.Name}
	if m, err := meta.Accessor(obj); err == nil {
		details.UID = m.GetUID()
	}
	return &metav1.Status{Status: metav1.StatusSuccess, Details: details}
}

func (s *Server) replyStatus(w http.ResponseWriter, r *http.Request, a answer, status *metav1.Status) error {
	code := int(status.Code)
	if code == 0 {
		code = http.StatusOK
	}
	auditReply(r.Context(), statusKind, fresh{status})
	body, err := renderStatus(a.out, status)
	if err != nil {
		return err
	}
	s.send(w, r, code, a.out.Format.MediaType(), body)
	return nil
}

// deleteOptions reads the options of a deletion from the body or, without
// one, from the query.
func (s *Server) deleteOptions(r *http.Request, c *call) (*metav1.DeleteOptions, error) {
	options := &metav1.DeleteOptions{}
	body, err := s.readBody(r)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		format, err := codec.Input(r.Header.Get("Content-Type"), statusOffer.Formats)
		if err != nil {
			return nil, err
		}
		if _, _, err := codec.Decode(format, body, schema.GroupVersionKind{Kind: "DeleteOptions"}, options, false); err != nil {
			return nil, undecodable(err)
		}
	} else if err := metav1.Convert_url_Values_To_v1_DeleteOptions(&c.query, options, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return options, invalidOptions("DeleteOptions", validation.ValidateDeleteOptions(options))
}

// remove takes a deletion the whole way. gone is false when the object stays
// for a while, then marked as being deleted.
func (s *Server) remove(ctx context.Context, wr *write, options *metav1.DeleteOptions) (out runtime.Object, gone bool, err error) {
	err = s.attempt(ctx, wr, func(old *current) error {
		out, gone, err = s.tryRemove(ctx, wr, old, options)
		return err
	})
	return out, gone, err
}

func (s *Server) tryRemove(ctx context.Context, wr *write, old *current, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	if err := s.mayRemove(ctx, wr, old, options.Preconditions); err != nil {
		return nil, false, err
	}
	row := wr.res.row
	obj := old.obj.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, false, err
	}
	if finalizer := row.Delete.Finalizer; finalizer != "" && m.GetDeletionTimestamp() == nil && !slices.Contains(m.GetFinalizers(), finalizer) {
		m.SetFinalizers(append(m.GetFinalizers(), finalizer))
	}
	var seconds int64
	graceful := false
	if row.Delete.GracePeriod != nil {
		seconds, graceful = row.Delete.GracePeriod(ctx, obj, options.DeepCopy())
	}
	decision := judgeDeletion(row, m, options, seconds, graceful, s.clock.Now())
	if decision == removeNow && row.Delete.Finished != nil && !row.Delete.Finished(obj) {
		if decision = leaveAlone; m.GetDeletionTimestamp() == nil {
			begin(m, 0, s.clock.Now())
			decision = markDeleted
		}
	}
	switch decision {
	case leaveAlone:
		if !old.live {
			return nil, false, errStale
		}
		return obj, false, nil
	case markDeleted:
		if row.Delete.PrepareForDelete != nil {
			row.Delete.PrepareForDelete(ctx, obj)
		}
		out, err := s.replace(ctx, wr, old, obj)
		return out, false, err
	default:
		out, err := s.erase(ctx, wr, old, obj)
		return out, true, err
	}
}

// mayRemove checks the client's preconditions and asks the row and admission.
func (s *Server) mayRemove(ctx context.Context, wr *write, old *current, conditions *metav1.Preconditions) error {
	m, err := meta.Accessor(old.obj)
	if err != nil {
		return err
	}
	if err := wr.meets(m, conditions); err != nil {
		return err
	}
	if wr.res.row.Delete.Validate != nil {
		if err := wr.res.row.Delete.Validate(ctx, old.obj); err != nil {
			return err
		}
	}
	if _, err := s.mutate(ctx, wr, nil, old.obj); err != nil {
		return err
	}
	return s.judge(ctx, wr, nil, old.obj)
}

func (wr *write) meets(m metav1.Object, conditions *metav1.Preconditions) error {
	if conditions == nil {
		return nil
	}
	kind := wr.res.row.Kind
	conflict := func(format string, args ...any) error {
		return apierrors.NewConflict(schema.GroupResource{Group: kind.Group, Resource: kind.Kind}, wr.name, fmt.Errorf(format, args...))
	}
	if conditions.UID != nil && *conditions.UID != m.GetUID() {
		return conflict("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *conditions.UID, m.GetUID())
	}
	if conditions.ResourceVersion != nil && *conditions.ResourceVersion != m.GetResourceVersion() {
		return conflict("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *conditions.ResourceVersion, m.GetResourceVersion())
	}
	return nil
}

// erase removes an object from the store and gives back what it held. The
// object returned has the revision of the deletion.
func (s *Server) erase(ctx context.Context, wr *write, old *current, obj runtime.Object) (runtime.Object, error) {
	if wr.dryRun {
		if !old.live {
			return nil, errStale
		}
		return obj, setVersion(obj, old.revision)
	}
	done := func(bool) {}
	if release := wr.res.row.Strategy.Allocate; release != nil {
		var err error
		if done, err = release(ctx, nil, old.obj, false); err != nil {
			return nil, err
		}
	}
	revision, err := s.config.Store.Delete(ctx, wr.res.key(wr.namespace, wr.name), old.revision)
	if done != nil {
		done(err == nil)
	}
	if err != nil {
		return nil, err
	}
	return obj, setVersion(obj, revision)
}

// isGone reports that another deletion was faster.
func isGone(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || apierrors.IsNotFound(err)
}
