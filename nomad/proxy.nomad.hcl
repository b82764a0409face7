# proxy: rendered by deploytool from the project's configuration; change that instead.
# `nomad job run nomad/proxy.nomad.hcl` runs it, with images by their tags. Written for Nomad 2.0.6: a deploy
# leaves out what an older server does not know.
job "proxy" {
  name        = "proxy"
  type        = "system"
  datacenters = ["*"]
  node_pool   = "default"
  priority    = 50
  all_at_once = false

  meta = {
    "deploytool.app" = "proxy"
  }

  group "traefik" {
    count = 1

    meta = {
      "deploytool.role" = "proxy"
    }

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "2s"
      healthy_deadline  = "5m42s"
      progress_deadline = "0s"
      auto_revert       = true
      auto_promote      = false
      canary            = 0
      stagger           = "15s"
    }

    restart {
      attempts         = 3
      interval         = "1m"
      delay            = "5s"
      mode             = "fail"
      render_templates = false
    }

    disconnect {
      replace   = true
      reconcile = "best_score"
    }

    ephemeral_disk {
      size    = 300
      sticky  = false
      migrate = false
    }

    network {
      mode = "host"

      port "ping" {
      }

      port "http" {
        static = 80
      }
    }

    task "traefik" {
      driver         = "docker"
      user           = "0:0"
      kill_timeout   = "9s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "1s"

      config {
        image              = "traefik:v3.7"
        cap_add            = ["net_bind_service"]
        cap_drop           = ["all"]
        cpu_hard_limit     = false
        image_pull_timeout = "5m"
        init               = false
        network_mode       = "host"
        pids_limit         = 1024
        readonly_rootfs    = true
        volumes            = ["local/deploytool/54f85d29-dynamic.yml:/etc/traefik/dynamic.yml:ro"]

        args = [
          "--global.checknewversion=false",
          "--global.sendanonymoususage=false",
          "--entrypoints.http.address=:80",
          "--entrypoints.http.transport.lifecycle.gracetimeout=200ms",
          "--entrypoints.http.transport.respondingtimeouts.readtimeout=3600s",
          "--entrypoints.http.http.middlewares=proxy_caller@file",
          "--providers.file.filename=/etc/traefik/dynamic.yml",
          "--providers.file.watch=false",
          "--entrypoints.http.asdefault=true",
          "--providers.nomad=true",
          "--providers.nomad.endpoint.address=unix:///secrets/api.sock",
          "--providers.nomad.exposedbydefault=false",
          "--providers.nomad.watch=true",
          "--providers.providersthrottleduration=100ms",
          "--serverstransport.forwardingtimeouts.idleconntimeout=3s",
          "--serverstransport.forwardingtimeouts.dialtimeout=250ms",
          "--ping=true",
          "--ping.entrypoint=ping",
          "--accesslog=true",
          "--accesslog.format=json",
          "--accesslog.fields.queryparameters.defaultmode=drop",
          "--entrypoints.ping.address=:$${NOMAD_PORT_ping}",
        ]

        mount {
          readonly = false
          target   = "/tmp"
          type     = "tmpfs"

          tmpfs_options {
            size = 1073741824
          }
        }
      }

      meta = {
        "deploytool.healthcheck" = "28c9a61f"
      }

      identity {
        env  = true
        file = false
      }

      service {
        name         = "proxy-traefik"
        provider     = "nomad"
        port         = "http"
        address_mode = "host"
        on_update    = "require_healthy"

        tags = [
          "deploytool.namespaces=default",
          "deploytool.role=proxy",
          "traefik.enable=true",
          "traefik.http.middlewares.proxy_unknown.ipallowlist.rejectstatuscode=404",
          "traefik.http.middlewares.proxy_unknown.ipallowlist.sourcerange=255.255.255.255/32",
          "traefik.http.middlewares.proxy_unknown_headers.headers.customresponseheaders.Proxy-Status=traefik; error=destination_not_found",
          "traefik.http.routers.proxy_ready.entrypoints=ping",
          "traefik.http.routers.proxy_ready.rule=Path(`/ready`)",
          "traefik.http.routers.proxy_ready.service=ping@internal",
          "traefik.http.routers.proxy_unknown.entrypoints=http",
          "traefik.http.routers.proxy_unknown.middlewares=proxy_unknown_headers,proxy_unknown",
          "traefik.http.routers.proxy_unknown.priority=-1",
          "traefik.http.routers.proxy_unknown.rule=PathPrefix(`/`)",
          "traefik.http.routers.proxy_unknown.service=noop@internal",
          "traefik.http.services.proxy_unknown.loadbalancer.server.port=80",
        ]

        check {
          name      = "GET /ready"
          type      = "http"
          path      = "/ready"
          method    = "GET"
          port      = "ping"
          interval  = "2s"
          timeout   = "2s"
          on_update = "require_healthy"

          header {
            Host = ["localhost"]
          }

          check_restart {
            limit           = 10
            grace           = "20s"
            ignore_warnings = false
          }
        }
      }

      template {
        destination          = "local/deploytool/54f85d29-dynamic.yml"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true

        data = <<EOF
http:
  middlewares:
    proxy_caller:
      headers:
        customRequestHeaders:
          Forwarded: ''
    proxy_starting:
      ipAllowList:
        rejectStatusCode: 503
        sourceRange:
        - '255.255.255.255/32'
    proxy_starting_headers:
      headers:
        customResponseHeaders:
          Proxy-Status: traefik; error=destination_unavailable
          Retry-After: '1'
  routers:
    proxy_starting:
      entryPoints:
      - http
      middlewares:
      - proxy_starting_headers
      - proxy_starting
      priority: -2
      rule: PathPrefix(`/`)
      service: noop@internal
EOF
      }

      resources {
        cpu        = 200
        memory     = 256
        memory_max = 1024
      }

      logs {
        max_files     = 3
        max_file_size = 10
        disabled      = false
      }
    }
  }
}
