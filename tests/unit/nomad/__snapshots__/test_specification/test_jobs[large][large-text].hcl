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

  group "cache" {
    count = 1

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
      health_check      = "task_states"
      min_healthy_time  = "5s"
      healthy_deadline  = "5m35s"
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
      health_check     = "task_states"
      min_healthy_time = "5s"
      healthy_deadline = "5m35s"
    }

    ephemeral_disk {
      size    = 300
      sticky  = false
      migrate = false
    }

    network {
      mode = "host"

      port "http" {
        to = 6379
      }
    }

    task "cache" {
      driver         = "docker"
      kill_timeout   = "25s"
      shutdown_delay = "5s"

      config {
        image              = "redis@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        cap_drop           = ["all"]
        cpu_hard_limit     = false
        image_pull_timeout = "5m"
        init               = false
        pids_limit         = 1024
        ports              = ["http"]
        readonly_rootfs    = false
      }

      service {
        name         = "items-cache"
        provider     = "nomad"
        port         = "http"
        address_mode = "host"
        on_update    = "require_healthy"
        canary_tags  = ["traefik.enable=false"]
      }

      resources {
        cpu        = 100
        memory     = 300
        memory_max = -1
      }

      logs {
        max_files     = 3
        max_file_size = 10
        disabled      = false
      }
    }
  }

  group "web" {
    count = 3

    meta = {
      "price" = "$5"
    }

    constraint {
      attribute = "$${meta.disk}"
      operator  = "="
      value     = "ssd"
    }

    constraint {
      attribute = "$${attr.cpu.arch}"
      operator  = "!="
      value     = "arm64"
    }

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

    constraint {
      attribute = "$${attr.driver.docker.volumes.enabled}"
      operator  = "="
      value     = "true"
    }

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    spread {
      attribute = "$${meta.zone}"
      weight    = 100
    }

    spread {
      attribute = "$${node.unique.id}"
      weight    = 50
    }

    update {
      max_parallel      = 2
      health_check      = "checks"
      min_healthy_time  = "9s"
      healthy_deadline  = "5m44s"
      progress_deadline = "0s"
      auto_revert       = false
      auto_promote      = false
      canary            = 0
      stagger           = "30s"
    }

    restart {
      attempts         = 4
      interval         = "2m"
      delay            = "2s"
      mode             = "fail"
      render_templates = false
    }

    reschedule {
      attempts       = 0
      interval       = "0s"
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = false
    }

    disconnect {
      replace   = true
      reconcile = "best_score"
    }

    migrate {
      max_parallel     = 2
      health_check     = "checks"
      min_healthy_time = "9s"
      healthy_deadline = "5m44s"
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

      port "publish_8080" {
        static = 8080
        to     = 8000
      }
    }

    task "web" {
      driver         = "docker"
      user           = "1000:1000"
      kill_timeout   = "28s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "7s"

      config {
        image              = "registry.example.com/team/items@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        cap_add            = ["net_bind_service"]
        cap_drop           = ["all"]
        cpu_hard_limit     = true
        image_pull_timeout = "5m"
        init               = true
        pids_limit         = 1024
        ports              = ["http", "publish_8080"]
        readonly_rootfs    = true

        args = [
          "/bin/sh",
          "-c",
          "python -m 'app.warm up' && exec \"$0\" \"$@\"",
          "uvicorn",
          "app.main:app",
          "--header",
          "x-price:$5 \u0024\u0024{HOME}",
        ]

        mount {
          readonly = false
          source   = "items_data"
          target   = "/data"
          type     = "volume"
        }

        mount {
          readonly = true
          source   = "/srv/{{files}}"
          target   = "/files"
          type     = "bind"
        }

        mount {
          readonly = false
          target   = "/tmp"
          type     = "tmpfs"

          tmpfs_options {
            size = 268435456
          }
        }

        volumes = [
          "local/deploytool/46dacef2-web.yml:/code/web.yml:ro",
          "secrets/deploytool:/run/secrets:ro",
        ]
      }

      env {
        EMPTY               = ""
        FORWARDED_ALLOW_IPS = "10.200.0.0/16,172.17.0.0/16"
        PRICE               = "$5"
      }

      meta = {
        "deploytool.healthcheck" = "4be206ba"
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
          "traefik.http.middlewares.items_web.stripprefix.prefixes=/v1",
          "traefik.http.middlewares.items_web_hsts.headers.customresponseheaders.Strict-Transport-Security=max-age=31536000",
          "traefik.http.middlewares.items_web_redirect.redirectscheme.permanent=true",
          "traefik.http.middlewares.items_web_redirect.redirectscheme.scheme=https",
          "traefik.http.middlewares.items_web_retry.retry.attempts=30",
          "traefik.http.middlewares.items_web_retry.retry.initialinterval=20ms",
          "traefik.http.routers.items_web.entrypoints=https",
          "traefik.http.routers.items_web.middlewares=items_web_hsts,items_web,items_web_retry,auth",
          "traefik.http.routers.items_web.priority=4",
          "traefik.http.routers.items_web.rule=(HostRegexp(`^[a-z0-9-]+\\.example\\.com$`) || Host(`shop.example.com`)) && PathRegexp(`^/v1(/|$)`)",
          "traefik.http.routers.items_web.service=items_web",
          "traefik.http.routers.items_web.tls.certresolver=acme",
          "traefik.http.routers.items_web.tls=true",
          "traefik.http.routers.items_web_redirect.entrypoints=http",
          "traefik.http.routers.items_web_redirect.middlewares=items_web_redirect",
          "traefik.http.routers.items_web_redirect.priority=4",
          "traefik.http.routers.items_web_redirect.rule=(HostRegexp(`^[a-z0-9-]+\\.example\\.com$`) || Host(`shop.example.com`)) && PathRegexp(`^/v1(/|$)`)",
          "traefik.http.routers.items_web_redirect.service=items_web",
          "traefik.http.services.items_web.loadbalancer.healthcheck.hostname=shop.example.com",
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
            Host = ["shop.example.com"]
          }

          check_restart {
            limit           = 3
            grace           = "20s"
            ignore_warnings = false
          }
        }
      }

      template {
        destination          = "local/deploytool/46dacef2-web.yml"
        data                 = "# config/web.yml\n"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true
      }

      template {
        destination          = "secrets/deploytool/API-KEY"
        data                 = "{{ with nomadVar \"nomad/jobs/items\" }}{{ (index . \"API-KEY\").Value }}{{ end }}"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true
      }

      template {
        destination          = "secrets/deploytool/DATABASE_URL"
        data                 = "{{ with nomadVar \"nomad/jobs/items/web\" }}{{ .DATABASE_URL__3.Value }}{{ end }}"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true
      }

      template {
        destination          = "secrets/deploytool.env"
        data                 = "NODE={{ env \"node.unique.name\" }}\n"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "restart"
        splay                = "5s"
        perms                = "0400"
        env                  = true
        error_on_missing_key = true
      }

      resources {
        cpu        = 500
        memory     = 128
        memory_max = 256
      }

      logs {
        max_files     = 3
        max_file_size = 10
        disabled      = false
      }
    }
  }

  group "worker" {
    count = 0

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
      health_check      = "task_states"
      min_healthy_time  = "5s"
      healthy_deadline  = "5m35s"
      progress_deadline = "0s"
      auto_revert       = true
      auto_promote      = false
      canary            = 0
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
      health_check     = "task_states"
      min_healthy_time = "5s"
      healthy_deadline = "5m35s"
    }

    ephemeral_disk {
      size    = 300
      sticky  = false
      migrate = false
    }

    task "worker" {
      driver         = "docker"
      kill_timeout   = "30s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "0s"

      config {
        image              = "registry.example.com/team/items@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        args               = ["python", "-m", "app.worker"]
        cap_drop           = ["all"]
        cpu_hard_limit     = false
        image_pull_timeout = "5m"
        init               = false
        pids_limit         = 1024
        readonly_rootfs    = true

        mount {
          readonly = false
          target   = "/tmp"
          type     = "tmpfs"

          tmpfs_options {
            size = 67108864
          }
        }
      }

      resources {
        cpu        = 100
        memory     = 300
        memory_max = -1
      }

      logs {
        max_files     = 3
        max_file_size = 10
        disabled      = false
      }
    }
  }
}
