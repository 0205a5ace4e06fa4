package esdbtest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	pp "github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// settingsStream is where an administrator writes the access lists of streams that have none of their own.
const settingsStream = "$settings"

// may says whether a user, nobody if nil, may make a call.
func (s *Server) may(u *user, c *Call) bool {
	switch c.Method {
	case serverfeatures.ServerFeatures_GetSupportedMethods_FullMethodName, gossip.Gossip_Read_FullMethodName:
		return true // so that a client finds the leader before it says who it is
	}
	if u == nil {
		return false
	}
	if slices.Contains(u.groups, Admins) {
		return true
	}
	switch c.Method {
	case streams.Streams_Read_FullMethodName, pp.PersistentSubscriptions_Read_FullMethodName:
		return s.allowed(u, c.Stream, forReading)
	case streams.Streams_Append_FullMethodName, streams.Streams_BatchAppend_FullMethodName:
		return s.allowed(u, c.Stream, forWriting)
	case streams.Streams_Delete_FullMethodName, streams.Streams_Tombstone_FullMethodName:
		return s.allowed(u, c.Stream, forDeleting)
	case pp.PersistentSubscriptions_GetInfo_FullMethodName, pp.PersistentSubscriptions_List_FullMethodName:
		return true
	}
	return slices.Contains(u.groups, Operators)
}

// purpose is what an access list is asked about.
type purpose int

const (
	forReading purpose = iota
	forWriting
	forDeleting
)

// allowed looks for the access list that decides: the stream's own, else the one for all such streams. Nobody but an
// administrator may touch a system stream, $all among them, unless a list says so.
func (s *Server) allowed(u *user, stream string, why purpose) bool {
	of, meta := metadataOf(stream)
	if !meta {
		of = stream
	}
	users, systems := s.defaultAccess()
	fallback := users
	if strings.HasPrefix(of, "$") {
		fallback = systems
	}
	list := pickRoles(s.engine.access(of), why, meta)
	if list == nil {
		list = pickRoles(fallback, why, meta)
	}
	return slices.ContainsFunc(list, u.is)
}

func pickRoles(a acl, why purpose, meta bool) []string {
	switch {
	case meta && why == forReading:
		return a.metaRead
	case meta:
		return a.metaWrite
	case why == forReading:
		return a.read
	case why == forWriting:
		return a.write
	}
	return a.remove
}

// defaultAccess reads the settings stream: access to streams of users, and to those of the system.
func (s *Server) defaultAccess() (users, systems acl) {
	users, systems = everybody(allStream), everybody(Admins)
	events := s.engine.look(settingsStream).events
	if len(events) == 0 {
		return users, systems
	}
	var in struct {
		Users   acls `json:"$userStreamAcl"`
		Systems acls `json:"$systemStreamAcl"`
	}
	if json.Unmarshal(events[len(events)-1].data, &in) != nil {
		return users, systems
	}
	return in.Users.list().or(users), in.Systems.list().or(systems)
}

func everybody(role string) acl {
	all := []string{role}
	return acl{read: all, write: all, remove: all, metaRead: all, metaWrite: all}
}

// or fills in what a list does not say.
func (a acl) or(b acl) acl {
	for _, x := range []struct{ mine, other *[]string }{
		{&a.read, &b.read}, {&a.write, &b.write}, {&a.remove, &b.remove}, {&a.metaRead, &b.metaRead},
		{&a.metaWrite, &b.metaWrite},
	} {
		if *x.mine == nil {
			*x.mine = *x.other
		}
	}
	return a
}
