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
		column("revision", func(t apiclient.Tenant) string { return output.Int(t.Revision) }),
	}
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
	var accept bool
	c := &cobra.Command{Use: "create NAME", Short: "Make a tenant (with a platform key)",
		Example: "  hookledger tenant create acme\n  hookledger key create --tenant acme --role producer --name crm",
		Args:    args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Tenant]
			body := map[string]any{"name": args[0], "settings": map[string]any{"accept_unknown_types": accept}}
			if err := c.Post(cmd.Context(), "/v1/tenants", body, &out); err != nil {
				return err
			}
			return output.One(a.printer, tenantColumns(), out.Raw, out.Value)
		}}
	c.Flags().BoolVar(&accept, "accept-unknown-types", false,
		"take events of types that nobody registered, unchecked and marked")
	return c
}

func newTenantUpdate(a *app, r *remote) *cobra.Command {
	var accept bool
	c := &cobra.Command{Use: "update NAME", Short: "Change a tenant's settings",
		Example: "  hookledger tenant update acme --accept-unknown-types=false", Args: args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("accept-unknown-types") {
				return usage("nothing to change was named", "give --accept-unknown-types=true or =false")
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Tenant]
			patch := map[string]any{"settings": map[string]any{"accept_unknown_types": accept}}
			if err := c.Patch(cmd.Context(), "/v1/tenants/"+url.PathEscape(args[0]), patch, &out); err != nil {
				return err
			}
			return output.One(a.printer, tenantColumns(), out.Raw, out.Value)
		}}
	c.Flags().BoolVar(&accept, "accept-unknown-types", false,
		"take events of types that nobody registered, unchecked and marked")
	return c
}
