job "items" {
  name        = "items"
  type        = "service"
  datacenters = ["*"]
  node_pool   = "default"
  priority    = 50
  all_at_once = false

  meta = {
    "deploytool.app" = "items"
  }

  group "web" {
    count = 4

    constraint {
      attribute = "$${attr.cpu.arch}"
      operator  = "regexp"
      value     = "^(amd64|arm64)$"
    }

    constraint {
      attribute = "$${attr.kernel.name}"
      operator  = "="
      value     = "linux"
    }

    spread {
      attribute = "$${node.unique.id}"
      weight    = 50
    }

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "5s"
      healthy_deadline  = "5m40s"
      progress_deadline = "0s"
      auto_revert       = true
      auto_promote      = true
      canary            = 1
      stagger           = "30s"
    }

    restart {
      attempts         = 3
      interval         = "1m"
      delay            = "5s"
      mode             = "fail"
      render_templates = false
    }

    reschedule {
      attempts       = 0
      interval       = "0s"
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    disconnect {
      replace   = true
      reconcile = "best_score"
    }

    migrate {
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "5s"
      healthy_deadline = "5m40s"
    }

    ephemeral_disk {
      size    = 300
      sticky  = false
      migrate = false
    }

    network {
      mode = "host"

      port "http" {
        to = 8000
      }
    }

    task "web" {
      driver         = "docker"
      kill_timeout   = "25s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "5s"

      config {
        image              = "localhost:5000/items@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        cap_drop           = ["all"]
        cpu_hard_limit     = false
        image_pull_timeout = "5m"
        init               = false
        pids_limit         = 1024
        ports              = ["http"]
        readonly_rootfs    = true

        args = [
          "uvicorn",
          "app.main:app",
          "--host",
          "0.0.0.0",
          "--port",
          "8000",
          "--proxy-headers",
          "--timeout-keep-alive",
          "60",
          "--timeout-graceful-shutdown",
          "20",
        ]

        mount {
          readonly = false
          target   = "/tmp"
          type     = "tmpfs"

          tmpfs_options {
            size = 201326592
          }
        }
      }

      env {
        FORWARDED_ALLOW_IPS = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8"
      }

      meta = {
        "deploytool.healthcheck" = "a45b3159"
      }

      service {
        name         = "items-web"
        provider     = "nomad"
        port         = "http"
        address_mode = "host"
        on_update    = "require_healthy"
        canary_tags  = ["traefik.enable=false"]

        tags = [
          "traefik.enable=true",
          "traefik.http.middlewares.items_web_retry.retry.attempts=30",
          "traefik.http.middlewares.items_web_retry.retry.initialinterval=20ms",
          "traefik.http.routers.items_web.entrypoints=http",
          "traefik.http.routers.items_web.middlewares=items_web_retry",
          "traefik.http.routers.items_web.priority=1001",
          "traefik.http.routers.items_web.rule=Host(`items.localhost`)",
          "traefik.http.routers.items_web.service=items_web",
          "traefik.http.services.items_web.loadbalancer.healthcheck.hostname=items.localhost",
          "traefik.http.services.items_web.loadbalancer.healthcheck.interval=5s",
          "traefik.http.services.items_web.loadbalancer.healthcheck.path=/health",
          "traefik.http.services.items_web.loadbalancer.healthcheck.timeout=3s",
          "traefik.http.services.items_web.loadbalancer.passhostheader=true",
        ]

        check {
          name      = "GET /health"
          type      = "http"
          path      = "/health"
          method    = "GET"
          port      = "http"
          interval  = "5s"
          timeout   = "3s"
          on_update = "require_healthy"

          header {
            Host = ["items.localhost"]
          }

          check_restart {
            limit           = 3
            grace           = "20s"
            ignore_warnings = false
          }
        }
      }

      resources {
        cpu        = 200
        memory     = 96
        memory_max = 192
      }

      logs {
        max_files     = 3
        max_file_size = 10
        disabled      = false
      }
    }
  }
}
