package projections

import (
	"encoding/binary"
	"log/slog"
	"testing"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// TestTodoKeepsNothingThatIsOver: behind one that nobody does, those that were done take no room.
func TestTodoKeepsNothingThatIsOver(t *testing.T) {
	t.Parallel()
	todo := newTodo()
	one := func(n uint64) domain.FollowUp {
		var id ulid.ULID
		binary.BigEndian.PutUint64(id[8:], n)
		return domain.FollowUp{Kind: domain.FollowChannelEnded, Tenant: "t", Evidence: id}
	}
	first := one(0)
	todo.add(first, slog.Default())
	for n := uint64(1); n <= 50_000; n++ {
		f := one(n)
		todo.add(f, slog.Default())
		todo.remove(todo.ids[f.ID()])
	}
	if len(todo.list) > 1100 || len(todo.fresh) > 1100 {
		t.Errorf("%d are listed, %d of them to be given", len(todo.list), len(todo.fresh))
	}
	if left := todo.pending(); len(left) != 1 || left[0].ID() != first.ID() {
		t.Errorf("what is to do: %+v", left)
	}
	if next := todo.next(); next == nil || next.ID() != first.ID() || todo.next() != nil {
		t.Error("the one that is to do is not given")
	}
}
