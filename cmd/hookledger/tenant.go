package main

import (
	"net/url"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func tenantColumns() []output.Column[apiclient.Tenant] {
	return []output.Column[apiclient.Tenant]{
		column("name", func(t apiclient.Tenant) string { return t.Name }),
		column("accept_unknown_types", func(t apiclient.Tenant) string {
			return output.YesNo(t.Settings.AcceptUnknownTypes)
		}),
		detail("text_search", func(t apiclient.Tenant) string { return output.YesNo(t.Settings.TextSearch) }),
		detail("ingest_rate", func(t apiclient.Tenant) string { return noZero(output.Float(t.Settings.IngestRate, 6)) }),
		detail("max_endpoints", func(t apiclient.Tenant) string { return output.NonZero(t.Settings.MaxEndpoints) }),
		detail("max_in_flight_per_host", func(t apiclient.Tenant) string {
			return output.NonZero(t.Settings.MaxInFlightPerHost)
		}),
		column("revision", func(t apiclient.Tenant) string { return output.Int(t.Revision) }),
	}
}

// tenantFlags are what create and update take; settings holds only what was given.
type tenantFlags struct {
	accept, text       bool
	rate               float64
	endpoints, perHost int
}

func (f *tenantFlags) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.accept, "accept-unknown-types", false,
		"take events of types that nobody registered, unchecked and marked")
	flags.BoolVar(&f.text, "text-search", false, "keep an index of what events say, so that --text finds them: plain text "+
		"on the server's disk, deleted with =false")
	flags.Float64Var(&f.rate, "ingest-rate", 0, "events per second that are taken at most, such as 100; 0: no limit")
	flags.IntVar(&f.endpoints, "max-endpoints", 0, "endpoints at most, 1 to 1000; 0: 1000")
	flags.IntVar(&f.perHost, "max-in-flight-per-host", 0,
		"attempts at once to one host and port, of all endpoints together, such as 16; 0: 512")
}

func (f *tenantFlags) settings(cmd *cobra.Command) map[string]any {
	out := map[string]any{}
	given := func(flag, name string, v any) {
		if cmd.Flags().Changed(flag) {
			out[name] = v
		}
	}
	given("accept-unknown-types", "accept_unknown_types", f.accept)
	given("text-search", "text_search", f.text)
	given("ingest-rate", "ingest_rate", f.rate)
	given("max-endpoints", "max_endpoints", f.endpoints)
	given("max-in-flight-per-host", "max_in_flight_per_host", f.perHost)
	return out
}

func newTenant(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("tenant", "Keep several customers apart",
		newTenantList(a, r), newTenantGet(a, r), newTenantCreate(a, r), newTenantUpdate(a, r)), r)
}

func newTenantList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "list", Short: "List the tenants", Example: "  hookledger tenant list", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/tenants", nil, l, tenantColumns())
		}}
	l.flags(c.Flags())
	return c
}

func newTenantGet(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "get NAME", Short: "Show a tenant", Example: "  hookledger tenant get default",
		Args: args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return getOne(cmd, a, c, "/v1/tenants/"+url.PathEscape(args[0]), tenantColumns())
		}}
}

func newTenantCreate(a *app, r *remote) *cobra.Command {
	f := &tenantFlags{}
	c := &cobra.Command{Use: "create NAME", Short: "Make a tenant (with a platform key)",
		Example: "  hookledger tenant create acme\n  hookledger key create --tenant acme --role producer --name crm",
		Args:    args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Tenant]
			body := map[string]any{"name": args[0], "settings": f.settings(cmd)}
			if err := c.Post(cmd.Context(), "/v1/tenants", body, &out); err != nil {
				return err
			}
			return output.One(a.printer, tenantColumns(), out.Raw, out.Value)
		}}
	f.flags(c)
	return c
}

func newTenantUpdate(a *app, r *remote) *cobra.Command {
	f := &tenantFlags{}
	c := &cobra.Command{Use: "update NAME", Short: "Change a tenant's settings",
		Long: `Change a tenant's settings. Limits are changed with a platform key, such as the one in DIR/admin.key: a
tenant's own key can't.`,
		Example: `  hookledger tenant update acme --accept-unknown-types=false
  hookledger tenant update acme --text-search
  hookledger tenant update acme --ingest-rate 100 --max-endpoints 50 --max-in-flight-per-host 16`,
		Args: args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings := f.settings(cmd)
			if len(settings) == 0 {
				return usage("nothing to change was named", "give --accept-unknown-types=true or =false, --text-search, or a limit")
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Tenant]
			patch := map[string]any{"settings": settings}
			if err := c.Patch(cmd.Context(), "/v1/tenants/"+url.PathEscape(args[0]), patch, &out); err != nil {
				return err
			}
			return output.One(a.printer, tenantColumns(), out.Raw, out.Value)
		}}
	f.flags(c)
	return c
}
