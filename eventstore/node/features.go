package node

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
)

// serverVersion is the version of EventStoreDB whose protocol the node speaks.
const serverVersion = "24.10.4"

// features tells clients what the node can do. BatchAppend isn't in the list, so that clients
// that know it use Append.
type features struct {
	serverfeatures.UnimplementedServerFeaturesServer
}

func (features) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	return &serverfeatures.SupportedMethods{
		EventStoreServerVersion: serverVersion,
		Methods: []*serverfeatures.SupportedMethod{
			{ServiceName: "event_store.client.streams.streams", MethodName: "append"},
			{ServiceName: "event_store.client.streams.streams", MethodName: "read"},
			{ServiceName: "event_store.client.gossip.gossip", MethodName: "read"},
			{ServiceName: "event_store.client.server_features.serverfeatures", MethodName: "getsupportedmethods"},
		},
	}, nil
}

// gossipService names the node as the one live leader.
type gossipService struct {
	gossip.UnimplementedGossipServer
	instance string
	host     string
	port     uint32
}

func newGossip(address net.Addr) *gossipService {
	service := &gossipService{instance: uuid.NewString()}
	if host, port, ok := splitAddress(address.String()); ok { // a Unix socket has neither
		service.host, service.port = host, port
	}
	return service
}

// Read answers with the address that the client came by, as that is one it can reach: the
// listener's own may be 0.0.0.0, or lie behind a port mapping.
func (g *gossipService) Read(ctx context.Context, _ *shared.Empty) (*gossip.ClusterInfo, error) {
	host, port := g.host, g.port
	if authority := metadata.ValueFromIncomingContext(ctx, ":authority"); len(authority) == 1 {
		if h, p, ok := splitAddress(authority[0]); ok {
			host, port = h, p
		}
	}
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		InstanceId:   &shared.UUID{Value: &shared.UUID_String_{String_: g.instance}},
		TimeStamp:    time.Now().UnixNano() / 100,
		State:        gossip.MemberInfo_Leader,
		IsAlive:      true,
		HttpEndPoint: &gossip.EndPoint{Address: host, Port: port},
	}}}, nil
}

func splitAddress(address string) (host string, port uint32, ok bool) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, false
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, false
	}
	return host, uint32(number), true
}
